"""By which STUN and TURN servers do browsers, and this server, find a way through firewalls?

TURN wants a password of everybody who relays. Each gets one of its own that expires: the server and coturn
share a secret, and the password is a signature of the user name, which begins with the time at which it
expires (draft-uberti-behave-turn-rest; coturn's `use-auth-secret`).
"""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import NamedTuple

from voicestack.config.webrtc import WebRtcSection
from voicestack.realtime.checks import JsonObject


class TurnLogin(NamedTuple):
    """A name and its password."""

    username: str
    credential: str


def turn_login(secret: str, name: str, expires_at_s: int) -> TurnLogin:
    """Make a login that counts until that Unix time."""
    username = f"{expires_at_s}:{name}"
    signature = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return TurnLogin(username, base64.b64encode(signature).decode())


class IceServers:
    """The servers of the configuration, with logins.

    Args:
        section: The configuration.
        unix_s: Unix time.
    """

    def __init__(self, section: WebRtcSection, unix_s: Callable[[], int]) -> None:
        self._section, self._unix_s = section, unix_s

    def login(self, name: str, ttl_s: int) -> TurnLogin:
        """A login for so long."""
        secret = self._section.turn_secret.get_secret_value()
        return turn_login(secret, name, self._unix_s() + ttl_s)

    def listed(self, name: str) -> JsonObject:
        """What a browser is told: `iceServers` of its RTCPeerConnection, and how long they count.

        Args:
            name: Of whoever asks, for the logs of the TURN server.
        """
        section = self._section
        servers: list[JsonObject] = []
        if section.stun_urls:
            servers.append({"urls": list(section.stun_urls)})
        if section.turn_urls:
            login = self.login(name, section.turn_ttl_s)
            servers.append({"urls": list(section.turn_urls), **login._asdict()})
        return {"ice_servers": servers, "ttl_s": section.turn_ttl_s}
