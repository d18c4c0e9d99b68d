"""What do we answer to an offer, in SDP (RFC 8829, section 5.3)? Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from aioice import Candidate

from voicestack.transports.rtc_offer import Offer, Section

MAX_MESSAGE_BYTES = 262_144
"""Longest event that is taken, as browsers' (and aiortc's) own limit."""

REVERSE = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}

OPUS = "minptime=10;useinbandfec=1;maxplaybackrate=16000;maxaveragebitrate=32000"
"""What we want to receive (RFC 7587): wideband is all that is heard, at the bitrate that full band would
have, with in-band FEC for what gets lost."""


@dataclass(frozen=True, slots=True)
class Answer:
    """This end of a connection.

    Attributes:
        session: A number that stays the same for all answers of a link.
        version: Of the answer; goes up.
        ufrag: ICE.
        password: ICE.
        candidates: All of them.
        fingerprint: DTLS: digest and value.
        is_client: The DTLS role: `active`.
        ssrc: Of the agent's audio.
        cname: Of its source.
    """

    session: int
    version: int
    ufrag: str
    password: str
    candidates: tuple[Candidate, ...]
    fingerprint: tuple[str, str]
    is_client: bool
    ssrc: int
    cname: str


def write_answer(offer: Offer, answer: Answer) -> str:
    """The SDP: every section of the offer answered, the ones without use refused with port 0."""
    used = [at for at in (offer.audio, offer.events) if at is not None]
    lines = [
        "v=0",
        f"o=- {answer.session} {answer.version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        *_group(offer.sections[at].mid for at in sorted(used)),
        "a=msid-semantic: WMS agent",
    ]
    for at, section in enumerate(offer.sections):
        if at not in used:
            lines += _refused(section)
            continue
        port = 9 if at == min(used) or section.port else 0
        if at == offer.audio:
            lines += [f"m=audio {port} {section.protocol} {offer.payload_type}", "c=IN IP4 0.0.0.0"]
        else:
            lines += [f"m=application {port} {section.protocol} webrtc-datachannel", "c=IN IP4 0.0.0.0"]
        lines += _transport(section, answer)
        lines += _audio(section, offer, answer) if at == offer.audio else _events()
        if at == min(used):
            lines += [f"a=candidate:{candidate.to_sdp()}" for candidate in answer.candidates]
            lines.append("a=end-of-candidates")
    return "\r\n".join(lines) + "\r\n"


def _group(mids: Iterator[str]) -> Iterator[str]:
    names = [mid for mid in mids if mid]
    if names:
        yield f"a=group:BUNDLE {' '.join(names)}"


def _refused(section: Section) -> list[str]:
    lines = [f"m={section.kind} 0 {section.protocol} {' '.join(section.formats)}", "c=IN IP4 0.0.0.0"]
    if section.mid:
        lines.append(f"a=mid:{section.mid}")
    if section.kind in ("audio", "video"):
        lines.append("a=inactive")
    return lines


def _transport(section: Section, answer: Answer) -> list[str]:
    return [
        *([f"a=mid:{section.mid}"] if section.mid else []),
        f"a=ice-ufrag:{answer.ufrag}",
        f"a=ice-pwd:{answer.password}",
        f"a=fingerprint:{answer.fingerprint[0]} {answer.fingerprint[1]}",
        f"a=setup:{'active' if answer.is_client else 'passive'}",
    ]


def _audio(section: Section, offer: Offer, answer: Answer) -> list[str]:
    direction = REVERSE[section.direction]
    lines = [
        f"a={direction}",
        "a=rtcp:9 IN IP4 0.0.0.0",
        "a=rtcp-mux",
        f"a=rtpmap:{offer.payload_type} opus/48000/2",
        f"a=fmtp:{offer.payload_type} {OPUS}",
        "a=ptime:20",
    ]
    if direction in ("sendrecv", "sendonly"):
        lines += ["a=msid:agent voice", f"a=ssrc:{answer.ssrc} cname:{answer.cname}"]
    return lines


def _events() -> list[str]:
    return ["a=sctp-port:5000", f"a=max-message-size:{MAX_MESSAGE_BYTES}"]
