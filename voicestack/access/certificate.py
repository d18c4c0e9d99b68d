"""What does a client see of this server when the connection is encrypted, and who made it?"""

import datetime
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voicestack.config.access import TlsSection
from voicestack.core.errors import ConfigError

if TYPE_CHECKING:
    from cryptography import x509

log = logging.getLogger(__name__)

LIFETIME_DAYS = 397
"""Longer ones are refused by Apple's and Google's clients."""
RENEW_DAYS = 30
"""Made again when it has no longer to live than this."""
BACKDATED_DAYS = 1
"""For clients whose clock is behind."""

DEVELOPMENT_NAMES = ("localhost", "127.0.0.1", "::1")
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Pair:
    """PEM files: the certificate with what is above it, and its private key."""

    cert: Path
    key: Path


class Tls:
    """The encryption of new connections; follows its files when they are renewed.

    Raises:
        ConfigError: they cannot be used.
    """

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._stamps = self._stamped()
        self._load()

    def refresh(self) -> None:
        """Take the files again if they have changed. What was there before stays when they cannot be used."""
        try:
            stamps = self._stamped()
            if stamps != self._stamps:
                self._stamps = stamps
                self._load()
                log.info("the certificate was renewed")
        except ConfigError as error:
            log.error("%s; the certificate that was read before stays in use", error)

    def _load(self) -> None:
        """Try first: a certificate without its own key would leave the context unusable."""
        try:
            for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context):
                context.load_cert_chain(self._pair.cert, self._pair.key, password=_no_password)
        except ssl.SSLError as error:
            files = f"tls.cert_file {self._pair.cert} and tls.key_file {self._pair.key}"
            raise ConfigError(f"{files} do not work together: {error.reason or error}") from None
        except OSError as error:
            raise ConfigError(f"tls: {self._pair.cert} or {self._pair.key}: {error.strerror}") from None

    def _stamped(self) -> list[int]:
        try:
            return [path.stat().st_mtime_ns for path in (self._pair.cert, self._pair.key)]
        except OSError as error:
            raise ConfigError(f"tls: {error.filename}: {error.strerror}") from None


def _no_password() -> str:
    """Instead of asking at the terminal."""
    return ""


def certificate_of(
    tls: TlsSection, host: str, env: Mapping[str, str], *, unix_s: Callable[[], int]
) -> Tls | None:
    """The server's certificate; None without TLS. A self-signed one is made when there is none, or it is old.

    Args:
        tls: The configuration.
        host: The address that the server listens on.
        env: Says where the cache folder is.
        unix_s: Unix time.

    Raises:
        ConfigError: it cannot be used, or not be made.
    """
    if not tls.is_on:
        return None
    if tls.cert_file:
        return Tls(Pair(Path(tls.cert_file), Path(tls.key_file)))
    cache = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voicestack" / "tls"
    names = list(dict.fromkeys([*DEVELOPMENT_NAMES, socket.gethostname(), *_concrete(host)]))
    pair = Pair(cache / "self-signed.pem", cache / "self-signed.key")
    if not _serves(pair.cert, names, unix_s()):
        try:
            _make(pair, names, unix_s())
        except OSError as error:
            raise ConfigError(f"tls.self_signed: {error.filename}: {error.strerror}") from None
        log.info("made a certificate for %s: %s", ", ".join(names), pair.cert)
    return Tls(pair)


def _concrete(host: str) -> list[str]:
    """The host, unless it stands for all addresses."""
    try:
        return [] if ipaddress.ip_address(host).is_unspecified else [host]
    except ValueError:
        return [host] if host else []


def _serves(path: Path, names: Sequence[str], now_s: int) -> bool:
    """Whether there is a certificate for these names that lives long enough."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        alternative = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    left_s = found.not_valid_after_utc.timestamp() - now_s
    return {str(name.value) for name in alternative} == set(names) and left_s > RENEW_DAYS * _DAY_S


def _make(pair: Pair, names: Sequence[str], now_s: int) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "voicestack on this machine")])
    now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=BACKDATED_DAYS))
        .not_valid_after(now + datetime.timedelta(days=LIFETIME_DAYS - BACKDATED_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pair.cert.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(pair.key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(private)
    pair.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _general_name(name: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
