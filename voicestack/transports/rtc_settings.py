"""What does an operator decide about WebRTC, and what does a link count?"""

from dataclasses import dataclass, field

from voicestack.transports.opus import BITRATE_BPS
from voicestack.transports.rtc_dtls import Identity


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server, for the addresses that this server itself announces.

    Attributes:
        url: `stun:host[:port]`, `turn:host[:port][?transport=udp|tcp]` or `turns:host[:port]`.
        username: For TURN.
        credential: For TURN.
    """

    url: str
    username: str = ""
    credential: str = ""


@dataclass(frozen=True, slots=True)
class RtcSettings:
    """How peer connections are made. One of these serves the whole process.

    Attributes:
        identity: The DTLS certificate. Made once: signing one takes longer than the rest of an answer.
        addresses: Local addresses to be reached at, IPv4 or IPv6. Empty for all but loopback.
        public_address: What the IPv4 ones look like from outside, behind a 1:1 NAT. Empty without one.
        port_min: Lowest UDP port; 0 for any.
        port_max: Highest UDP port.
        ice_servers: For the server's own gathering: at most one STUN and one TURN server are asked.
        relay_only: Announce relayed addresses only.
        gather_timeout_ms: Servers that have not answered by then are done without.
        connect_timeout_ms: An answered peer that is not connected by then is given up.
        consent_timeout_ms: A connected peer that has not confirmed for so long is gone (RFC 7675: 30 s).
        max_unsent_bytes: A peer that leaves more events than this unread is cut off.
        bitrate_bps: Of the agent's voice, Opus.
    """

    identity: Identity = field(default_factory=Identity)
    addresses: tuple[str, ...] = ()
    public_address: str = ""
    port_min: int = 0
    port_max: int = 0
    ice_servers: tuple[IceServer, ...] = ()
    relay_only: bool = False
    gather_timeout_ms: int = 2000
    connect_timeout_ms: int = 15_000
    consent_timeout_ms: int = 12_000
    max_unsent_bytes: int = 1 << 20
    bitrate_bps: int = BITRATE_BPS


@dataclass(slots=True)
class LinkFigures:
    """What happened on a link so far.

    Attributes:
        n_packets_in: RTP packets of the user's audio, also those that were of no use.
        n_lost: Packets that did not come in time.
        n_late: Packets that came after they had been given up, or twice.
        n_refused: Packets that could not be decrypted or understood.
        in_bytes: Of RTP payload.
        n_recovered_samples: Of the user's audio, what came from the next packet's FEC.
        n_concealed_samples: Of the user's audio, what was made up.
        jitter_ms: Of the user's packets, as RFC 3550 has it.
        n_packets_out: RTP packets of the agent's audio.
        out_bytes: Of RTP payload.
        late_max_ms: The latest that a packet of the agent's left after it was due.
        p_lost_out: Share of the agent's packets that the peer did not get, by its last report, 0..1.
        rtt_ms: To the peer and back, by its last report; None before.
        n_events_dropped: Events that were too large for the peer.
        n_restarts: Times that the peer went on over other addresses.
    """

    n_packets_in: int = 0
    n_lost: int = 0
    n_late: int = 0
    n_refused: int = 0
    in_bytes: int = 0
    n_recovered_samples: int = 0
    n_concealed_samples: int = 0
    jitter_ms: float = 0.0
    n_packets_out: int = 0
    out_bytes: int = 0
    late_max_ms: float = 0.0
    p_lost_out: float = 0.0
    rtt_ms: float | None = None
    n_events_dropped: int = 0
    n_restarts: int = 0
