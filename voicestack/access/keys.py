"""What is an API key, and is this one?

::

    sk-vs-7f3a91c2d0-2J9x...43 characters...
          |          256 random bits
          its name, which is shown and logged

Only the SHA-256 of a key is kept. Slow hashes (bcrypt, scrypt) are for passwords that people think up: they
make each of a few billion likely guesses dear. Here there are 2^256 equally likely ones, so a fast hash is as
safe, and a flood of wrong keys costs the server nothing worth mentioning.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voicestack.access.principal import DEFAULT_TENANT
from voicestack.core.errors import VoiceStackError

PREFIX = "sk-vs-"
SECRET_BYTES = 32
VERSION = 1
"""Of the file's form."""

_FORM = re.compile(rf"{PREFIX}([0-9a-f]{{10}})-[A-Za-z0-9_-]{{43}}")
_NOBODY = "0" * 64
"""What a key with an unknown name is compared with."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@ -]{0,63}$")]


class BadKeyFile(VoiceStackError):
    """The keys file does not hold what it should."""

    code = "bad_key_file"


class Key(BaseModel):
    """What is known of a key. The key itself is not.

    Attributes:
        id: Its public name.
        tenant: Whose it is.
        name: What its owner calls it.
        sha256: Of the whole key, in hex.
        created_at_s: Unix time.
        expires_at_s: Unix time from which it opens nothing, None for never.
        max_sessions: Sessions at once, in place of `limits.sessions_per_key`.
        requests_per_minute: In place of `limits.requests_per_minute_per_key`.
        responses_per_minute: In place of `limits.responses_per_minute_per_key`.
        tokens_per_minute: In place of `limits.tokens_per_minute_per_key`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{10}$")]
    tenant: Name = DEFAULT_TENANT
    name: str = ""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    created_at_s: int
    expires_at_s: int | None = None
    max_sessions: int | None = Field(default=None, ge=1)
    requests_per_minute: int | None = Field(default=None, ge=1)
    responses_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)

    def is_valid(self, now_s: int) -> bool:
        """Whether it still opens anything. `now_s` is Unix time."""
        return self.expires_at_s is None or now_s < self.expires_at_s


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: int = Field(default=VERSION, le=VERSION)
    keys: Annotated[tuple[Key, ...], Field(strict=False)] = ()


@dataclass(frozen=True, slots=True)
class Minted:
    """A new key. `secret` is in no file and can never be shown again."""

    secret: str
    key: Key


@dataclass(frozen=True, slots=True)
class Terms:
    """What a new key is good for: see the attributes of `Key`."""

    tenant: str = DEFAULT_TENANT
    name: str = ""
    expires_at_s: int | None = None
    max_sessions: int | None = None
    requests_per_minute: int | None = None
    responses_per_minute: int | None = None
    tokens_per_minute: int | None = None


def mint(terms: Terms, now_s: int) -> Minted:
    """Make a key. `now_s` is Unix time.

    Raises:
        ValueError: the terms cannot be, with a sentence that says why.
    """
    key_id = secrets.token_hex(5)
    secret = f"{PREFIX}{key_id}-{secrets.token_urlsafe(SECRET_BYTES)}"
    try:
        key = Key(
            id=key_id,
            sha256=digest(secret),
            created_at_s=now_s,
            tenant=terms.tenant,
            name=terms.name,
            expires_at_s=terms.expires_at_s,
            max_sessions=terms.max_sessions,
            requests_per_minute=terms.requests_per_minute,
            responses_per_minute=terms.responses_per_minute,
            tokens_per_minute=terms.tokens_per_minute,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{first['loc'][0]}: {first['msg']}") from None
    return Minted(secret, key)


def digest(secret: str) -> str:
    """What is kept of a key. Takes whatever can stand in a header."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class Keyring:
    """All keys. Never changes: what changes it makes another."""

    def __init__(self, keys: Mapping[str, Key] | None = None) -> None:
        self._keys = dict(keys or {})

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)

    def of(self, secret: str, now_s: int) -> Key | None:
        """The valid key that `secret` is, None if it is none. `now_s` is Unix time."""
        form = _FORM.fullmatch(secret)
        key = self._keys.get(form[1]) if form else None
        same = hmac.compare_digest(digest(secret), key.sha256 if key else _NOBODY)
        return key if same and key is not None and key.is_valid(now_s) else None

    def named(self, key_id: str) -> Key | None:
        """The key with that public name."""
        return self._keys.get(key_id)

    def with_key(self, key: Key) -> "Keyring":
        """The same and one more."""
        return Keyring({**self._keys, key.id: key})

    def without(self, key_id: str) -> "Keyring":
        """The same without one."""
        return Keyring({name: key for name, key in self._keys.items() if name != key_id})

    def written(self) -> bytes:
        """The contents of the keys file."""
        return _File(keys=tuple(self)).model_dump_json(indent=2, exclude_none=True).encode() + b"\n"

    @staticmethod
    def read(text: bytes) -> "Keyring":
        """From the contents of the keys file.

        Raises:
            BadKeyFile: it is not one, or was written by a newer version.
        """
        try:
            file = _File.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BadKeyFile(f"{where or 'the file'}: {first['msg']}") from None
        return Keyring({key.id: key for key in file.keys})
