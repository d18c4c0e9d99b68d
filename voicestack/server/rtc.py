"""What does the configuration mean to peer connections, and are there any on this machine?"""

import logging
from dataclasses import replace

from voicestack.access.principal import Denied
from voicestack.aio.clock import Clock
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError
from voicestack.server.calls import NewLink
from voicestack.server.ice import IceServers

log = logging.getLogger(__name__)

OWN_NAME = "voicestack"
"""Under which this server itself asks TURN servers for a relay."""

DISABLED = Denied(404, "webrtc_disabled", "This server takes no calls over WebRTC (webrtc.enabled is false).")
MISSING = Denied(
    501, "webrtc_unavailable", "This server lacks what calls over WebRTC need: its log says what."
)


def link_maker(config: Config, ice: IceServers, clock: Clock) -> NewLink | Denied:
    """Makes peer connections; or why there are none. What they need is imported here: it takes half a second.

    Args:
        config: The configuration.
        ice: Logs this server in at TURN servers.
        clock: Of the links.
    """
    section = config.webrtc
    if not section.enabled:
        return DISABLED
    try:
        from voicestack.transports.opus import library_version
        from voicestack.transports.rtc_link import RtcLink
        from voicestack.transports.rtc_settings import IceServer, RtcSettings

        codec = library_version()
    except (ImportError, ConfigError) as error:
        log.warning("no calls over WebRTC: %s (voicestack doctor says what to do)", error)
        return MISSING
    log.info("calls over WebRTC with %s", codec)
    settings = RtcSettings(
        addresses=local_addresses(section.host, config.server.host),
        public_address=section.public_address,
        port_min=section.udp_port_min,
        port_max=section.udp_port_max,
        connect_timeout_ms=section.connect_timeout_ms,
        max_unsent_bytes=config.server.write_buffer_limit_bytes,
    )

    def servers() -> tuple[IceServer, ...]:
        stun = tuple(IceServer(url) for url in section.stun_urls)
        if not section.turn_urls:
            return stun
        login = ice.login(OWN_NAME, config.server.session_limit_s + section.turn_ttl_s)
        return (*stun, *(IceServer(url, *login) for url in section.turn_urls))

    return lambda scope: RtcLink(replace(settings, ice_servers=servers()), clock, scope)


def local_addresses(host: str, server_host: str) -> tuple[str, ...]:
    """Where peer connections listen: empty for all addresses but loopback.

    Args:
        host: `webrtc.host`; empty follows the next.
        server_host: Where the server listens.
    """
    where = host or server_host
    if where in ("", "0.0.0.0", "::"):
        return ()
    return ("127.0.0.1",) if where == "localhost" else (where,)
