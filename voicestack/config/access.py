"""Who may come in, how much may they ask for, and how is the connection encrypted?"""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from voicestack.config.kinds import STRICT, blame


def check_origin(origin: str) -> str:
    """Let `*` and what a browser sends as `Origin` through."""
    if origin not in ("*", "null") and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/@\s*]+", origin):
        raise PydanticCustomError("origin", "should be '*' or an origin such as https://app.example.com")
    return origin


def check_network(network: str) -> str:
    """Let IP addresses and networks through."""
    try:
        ipaddress.ip_network(network)
    except ValueError:
        raise PydanticCustomError(
            "network", "should be an IP address, or a network such as 10.0.0.0/8"
        ) from None
    return network


Origins = Annotated[tuple[Annotated[str, AfterValidator(check_origin)], ...], Field(strict=False)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(check_network)], ...], Field(strict=False)]
Cap = Annotated[int, Field(ge=0, le=1_000_000)]
"""0 is no limit."""


class AccessSection(BaseModel):
    """Who may come in. Keys are asked for as soon as the keys file exists."""

    model_config = STRICT

    keys_file: str = ""
    """Where `voicestack keys` keeps the hashes; empty for voicestack/keys.json in the user's data folder."""
    open_to_anyone: bool = False
    """Let everybody in without a key, at any address, even if there are keys."""
    origins: Origins = ()
    """Web pages that may connect, besides those of this machine and of this server itself; `*` for all."""
    trusted_proxies: Networks = ()
    """Reverse proxies whose X-Forwarded-For is believed. Whoever is believed can name any address."""
    open_metrics: bool = False
    """Show /metrics and all of /readyz without a key. Otherwise they want a key of the tenant `default`."""


class LimitsSection(BaseModel):
    """What one key, one address and one connection may cost. Addresses of this machine are not counted.

    An IPv6 address stands for its /64, which is what one customer is given.
    """

    model_config = STRICT

    sessions_per_key: Cap = 0
    """Sessions at once. None: one key often serves everybody; `voicestack keys create` can set it per key."""
    sessions_per_address: Cap = 20
    """Sessions at once from one address. An office behind one address, all talking."""
    sessions_per_secret: Cap = 4
    """Sessions at once with one ephemeral secret, which is one user: some tabs, or one that reconnects."""
    requests_per_minute_per_key: Cap = 6_000
    """New connections and HTTP requests. 100 a second, far beyond what the sessions of one machine need."""
    requests_per_minute_per_address: Cap = 300
    """Likewise. A page with a dozen files, reloaded now and then by everybody in the office."""
    requests_per_minute_per_secret: Cap = 30
    """Likewise. A client that loses its connection tries again every few seconds."""
    responses_per_minute_per_key: Cap = 6_000
    """Replies, asked for or not, of all sessions of a key (without keys: of everybody) together. 100 a
    second, far beyond what one machine can say. Shown in `rate_limits.updated`, like the next one."""
    tokens_per_minute_per_key: Cap = 0
    """Tokens that the language model reads and writes for them. None: what one costs is not known here."""
    failures_per_minute_per_address: Cap = 10
    """Wrong or missing keys that are answered 401; more are answered 429, and the connection is closed."""
    body_bytes: int = Field(default=27_262_976, ge=1_024)
    """Longest HTTP body: 26 MiB. OpenAI takes audio files of 25 MB, and there is a form around them."""
    header_bytes: int = Field(default=65_536, ge=1_024)
    """Longest HTTP head. Twice what nginx takes (4 buffers of 8 KiB)."""
    header_timeout_ms: int = Field(default=10_000, ge=100, le=600_000)
    """Longest wait for a whole HTTP head. A slow telephone needs about two seconds."""
    body_timeout_ms: int = Field(default=60_000, ge=100, le=3_600_000)
    """Longest wait for a whole HTTP body: 25 MB at 3.5 Mbit/s."""
    unread_timeout_ms: int = Field(default=30_000, ge=100, le=3_600_000)
    """An HTTP client that reads nothing of its answer for so long is cut off."""
    connections_per_address: Cap = 200
    """Open connections from one address that are not, or not yet, a session."""
    speechless_ms: int = Field(default=300_000, ge=100, le=86_400_000)
    """A session whose client has never sent anything is closed after this: five minutes."""


class TlsSection(BaseModel):
    """Encryption by the server itself; for when no reverse proxy does it."""

    model_config = STRICT

    cert_file: str = ""
    """PEM: the certificate and what is above it. Read again when it changes."""
    key_file: str = ""
    """PEM: its private key, without a password."""
    self_signed: bool = False
    """Make a certificate for this machine and keep it in the user's cache folder. Clients have to be told."""

    @property
    def is_on(self) -> bool:
        """Whether connections are encrypted."""
        return self.self_signed or bool(self.cert_file)

    @model_validator(mode="after")
    def _whole(self) -> "TlsSection":
        for key, value in (("cert_file", self.cert_file), ("key_file", self.key_file)):
            if not value and (self.cert_file or self.key_file):
                message = "is needed: a certificate and its key go together"
                raise blame(key, message, value, because=["cert_file", "key_file"])
        if self.self_signed and self.cert_file:
            message = "cannot be true when there is a tls.cert_file"
            raise blame("self_signed", message, self.self_signed, because=["cert_file"])
        return self
