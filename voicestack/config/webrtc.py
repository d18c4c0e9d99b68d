"""What can be configured of WebRTC: where browsers reach this machine, and how long a call waits for them."""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from voicestack.config.kinds import STRICT, blame


def check_stun(url: str) -> str:
    """Let addresses of STUN servers through."""
    if not re.fullmatch(r"stuns?:[^\s/?@]+", url):
        raise PydanticCustomError("stun", "should be stun:host or stun:host:port")
    return url


def check_turn(url: str) -> str:
    """Let addresses of TURN servers through."""
    if not re.fullmatch(r"turns?:[^\s/?@]+(\?transport=(udp|tcp))?", url):
        raise PydanticCustomError("turn", "should be turn:host:port, or with ?transport=tcp behind it")
    return url


def check_address(address: str) -> str:
    """Let IP addresses through; empty is none."""
    try:
        if address:
            ipaddress.ip_address(address)
    except ValueError:
        raise PydanticCustomError("ip_address", "should be an IP address") from None
    return address


Address = Annotated[str, AfterValidator(check_address)]
StunUrls = Annotated[tuple[Annotated[str, AfterValidator(check_stun)], ...], Field(strict=False)]
TurnUrls = Annotated[tuple[Annotated[str, AfterValidator(check_turn)], ...], Field(strict=False)]
UdpPort = Annotated[int, Field(ge=0, le=65_535)]


class WebRtcSection(BaseModel):
    """Calls from browsers over WebRTC: sound as UDP packets, events on a data channel."""

    model_config = STRICT

    enabled: bool = True
    """Take such calls. They need the package `aiortc`."""
    host: Address = ""
    """The local address for UDP; empty follows `server.host`, so that 127.0.0.1 stays on this machine."""
    public_address: Address = ""
    """What the world calls this machine, where a router or a cloud translates addresses one to one."""
    udp_port_min: UdpPort = 0
    """The lowest UDP port for calls, for a firewall to let through; 0 takes any free ports."""
    udp_port_max: UdpPort = 0
    """The highest. Each call takes one port for every local address."""
    stun_urls: StunUrls = ()
    """STUN servers, such as stun:host:3478, for this server and for browsers."""
    turn_urls: TurnUrls = ()
    """TURN servers that relay for browsers behind firewalls: turn:host:3478, turns:host:443?transport=tcp."""
    turn_secret: SecretStr = SecretStr("")
    """Shared with the TURN servers (coturn: static-auth-secret). Better set in the environment, as
    VOICESTACK__WEBRTC__TURN_SECRET."""
    turn_ttl_s: int = Field(default=600, ge=60, le=86_400)
    """How long the credentials count that a browser gets. They are wanted when a call begins or moves."""
    connect_timeout_ms: int = Field(default=15_000, ge=500, le=120_000)
    """A call whose browser has not connected by then is dropped. Relayed candidates take seconds."""
    grace_ms: int = Field(default=30_000, ge=0, le=600_000)
    """A browser that vanished may come back to its conversation for so long: a change of network, a reload.
    Only for those that ask for our own events."""
    lead_ms: int = Field(default=40, ge=20, le=1_000)
    """Audio is sent so far ahead of its time: two packets. Browsers have buffers of their own."""

    @model_validator(mode="after")
    def _fits(self) -> "WebRtcSection":
        ports = ["udp_port_min", "udp_port_max"]
        if bool(self.udp_port_min) != bool(self.udp_port_max):
            missing = "udp_port_max" if self.udp_port_min else "udp_port_min"
            raise blame(missing, "is needed: both ends of the range, or neither", 0, because=ports)
        if self.udp_port_max < self.udp_port_min:
            message = "should not be less than webrtc.udp_port_min"
            raise blame("udp_port_max", message, self.udp_port_max, because=ports)
        if self.turn_urls and not self.turn_secret.get_secret_value():
            message = "is needed when there are webrtc.turn_urls"
            raise blame("turn_secret", message, "", because=["turn_urls"])
        return self
