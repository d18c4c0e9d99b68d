"""What does an ephemeral secret say, and did this server write it?

::

    ek_ + base64url( 32 bytes HMAC-SHA256 | zlib( JSON claims ) )

Nothing is stored: any server with the same signing key knows its own. It is signed, not encrypted: its holder
can read the session configuration in it, which `session.created` shows too.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import zlib
from dataclasses import dataclass

import orjson

from voicestack.core.errors import PeerProtocolError
from voicestack.realtime.checks import JsonObject

PREFIX = "ek_"
"""OpenAI's. Their JavaScript client takes nothing else in a browser."""

LIFETIME_S = range(10, 7201)
DEFAULT_LIFETIME_S = 600
"""Both OpenAI's."""

MAX_CHARS = 6_000
"""It travels in a header line, of which `websockets` and most proxies take 8 KiB."""

SIGNING_KEY_BYTES = 32
_MAC_BYTES = 32
_PURPOSE = b"voicestack ephemeral secret 1\0"
"""Signed with the claims, so that a signature is good for nothing else."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What an ephemeral secret was made for.

    Attributes:
        id: Names it, for its limits.
        tenant: See `Principal`.
        key_id: The key it was made with, and ends with. Empty at a server without keys.
        expires_at_s: Unix time from which it opens nothing.
        session: The session fields to begin with, checked; what the client did not give is absent.
        model: The model it was made for, None for any.
    """

    id: str
    tenant: str
    key_id: str
    expires_at_s: int
    session: JsonObject
    model: str | None = None


def new_name() -> str:
    """For `Claims.id`."""
    return secrets.token_hex(6)


def sign(claims: Claims, signing_key: bytes) -> str:
    """The secret itself.

    Raises:
        PeerProtocolError: the session's configuration does not fit into one.
    """
    fields = {
        "i": claims.id,
        "t": claims.tenant,
        "k": claims.key_id,
        "e": claims.expires_at_s,
        "s": claims.session,
        "m": claims.model,
    }
    packed = zlib.compress(orjson.dumps(fields), 9)
    secret = PREFIX + base64.urlsafe_b64encode(_mac(packed, signing_key) + packed).rstrip(b"=").decode()
    if len(secret) > MAX_CHARS:
        raise PeerProtocolError(
            f"This session is too large for a client secret: it would be {len(secret)} characters long, and "
            f"{MAX_CHARS} fit into an HTTP header. Send long instructions and tools with session.update.",
            code="session_too_large",
            param="session",
        )
    return secret


def read(secret: str, signing_key: bytes) -> Claims | None:
    """What it says, None if it was not signed with this key. Whether it has expired is not looked at."""
    if not secret.startswith(PREFIX) or len(secret) > MAX_CHARS:
        return None
    text = secret[len(PREFIX) :]
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    mac, packed = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(packed, signing_key)):
        return None
    fields = orjson.loads(zlib.decompress(packed))
    return Claims(fields["i"], fields["t"], fields["k"], fields["e"], fields["s"], fields["m"])


def _mac(packed: bytes, signing_key: bytes) -> bytes:
    return hmac.digest(signing_key, _PURPOSE + packed, hashlib.sha256)
