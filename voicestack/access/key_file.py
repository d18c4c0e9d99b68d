"""Where do the keys lie, and how do a command and a running server share them?

Two files in a folder of the user's: `keys.json` with the hashes, and `keys.json.signing` with the key that
signs ephemeral secrets. Both are replaced as a whole and readable by their owner alone.
"""

import fcntl
import logging
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from voicestack.access.keys import BadKeyFile, Keyring
from voicestack.access.secret import SIGNING_KEY_BYTES
from voicestack.core.errors import ConfigError

log = logging.getLogger(__name__)

OWNER_ONLY = 0o600

Stamp = tuple[int, int, int]
"""Changes whenever the file does: inode, time of change, length."""


def default_path(env: Mapping[str, str]) -> Path:
    """`voicestack/keys.json` in the user's data folder."""
    return Path(env.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "voicestack" / "keys.json"


class KeyFile:
    """The two files. Every method raises ConfigError when the disk does not let it do its work."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._signing_path = path.with_name(f"{path.name}.signing")

    def stamp(self) -> Stamp | None:
        """What to compare to see a change; None without a file."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("read", error) from None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def read(self) -> Keyring | None:
        """The keys; None without a file."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("read", error) from None
        try:
            return Keyring.read(text)
        except BadKeyFile as error:
            raise ConfigError(f"{self.path}: {error}") from None

    def change(self, changed: Callable[[Keyring], Keyring]) -> None:
        """Replace the keys by what `changed` makes of them. Of two at once the second waits for the first."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _locked(self.path.with_name(f"{self.path.name}.lock")):
                _replace(self.path, changed(self.read() or Keyring()).written())
        except OSError as error:
            raise self._failed("written", error) from None

    def signing_key(self) -> bytes:
        """What ephemeral secrets are signed with; made when there is none."""
        path = self._signing_path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _locked(self.path.with_name(f"{self.path.name}.lock")):
                if not path.exists():
                    _replace(path, secrets.token_bytes(SIGNING_KEY_BYTES))
                key = path.read_bytes()
                if stat.S_IMODE(path.stat().st_mode) & 0o077:
                    log.warning("%s could be read by others; that is corrected", path)
                    path.chmod(OWNER_ONLY)
        except OSError as error:
            raise ConfigError(f"{path} cannot be used: {error.strerror}") from None
        if len(key) < SIGNING_KEY_BYTES:
            raise ConfigError(f"{path} is damaged; delete it (this ends all ephemeral secrets)")
        return key

    def _failed(self, verb: str, error: OSError) -> ConfigError:
        return ConfigError(f"access.keys_file {self.path} cannot be {verb}: {error.strerror}")


def _replace(path: Path, contents: bytes) -> None:
    """Either the old or the new contents are there, whatever happens meanwhile. mkstemp gives mode 0600."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, OWNER_ONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class KeysInForce:
    """The keys that count at this moment.

    Once there was a keys file, keys are asked for until the server is started again: a file that is deleted
    opens nothing, and one that cannot be read any more changes nothing.

    Raises:
        ConfigError: there is a file and it cannot be used.
    """

    def __init__(self, file: KeyFile) -> None:
        self.file = file
        self._signing_key: bytes | None = None
        self._stamp = file.stamp()
        ring = file.read()
        self.are_required = ring is not None
        self.ring = ring or Keyring()

    def refresh(self) -> bool:
        """Look whether the file has changed. Returns whether it has. Keeps the old keys if it is unusable."""
        try:
            stamp = self.file.stamp()
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            ring = self.file.read()
        except ConfigError as error:
            log.error("%s; the keys that were read before stay in force", error)
            return False
        self.are_required = self.are_required or ring is not None
        self.ring = ring or Keyring()
        log.info("%d API keys are in force", len(self.ring))
        return True

    @property
    def signing_key(self) -> bytes:
        """See `KeyFile.signing_key`. Asked for once, when it is first needed."""
        if self._signing_key is None:
            try:
                self._signing_key = self.file.signing_key()
            except ConfigError as error:
                log.error("%s; ephemeral secrets will not outlive this process", error)
                self._signing_key = secrets.token_bytes(SIGNING_KEY_BYTES)
        return self._signing_key
