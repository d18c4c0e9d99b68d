"""What does a peer offer, in SDP (RFC 8866, 8829)? Pure. Reads only what an answer needs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from voicestack.core.errors import PeerProtocolError

MAX_OFFER_BYTES = 1 << 16
"""Browsers' offers have 2 to 8 KiB."""
MAX_CANDIDATES = 40
"""What is more is ignored: each costs a check every 20 ms, to an address that the peer has chosen."""
MAX_SECTIONS = 32

DEFAULT_MESSAGE_BYTES = 65_536
"""RFC 8841, section 6.1: what a peer takes that does not say."""

_ICE_TEXT = re.compile(r"[!-9;-~]{4,256}")
"""RFC 8839 allows letters, digits, + and /; some peers use more. Not the colon: it separates two of them."""
_HEX = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2}){15,63}")
_MEDIA = re.compile(r"(\S+) (\d{1,5})(?:/\d+)? (\S+) (.+)")
_CANDIDATE = re.compile(r"(\S{1,32}) (\d{1,3}) (\S+) (\d{1,10}) (\S+) (\d{1,5}) typ (\S+)(.*)")
_MAPPED = re.compile(r"(\d{1,3}) ([^/\s]+)/(\d{1,6})(?:/(\d))?\s*")

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
"""The most useful first: of several sections with audio, that one is answered."""


@dataclass(frozen=True, slots=True)
class RemoteCandidate:
    """Where the peer may be reached. `host` is an address or, with mDNS, a name."""

    foundation: str
    component: int
    transport: str
    priority: int
    host: str
    port: int
    kind: str


@dataclass(frozen=True, slots=True)
class Section:
    """One m-line and its attributes.

    Attributes:
        kind: `audio`, `application`, `video`, ...
        port: 0 for a section that the peer has switched off.
        protocol: Such as `UDP/TLS/RTP/SAVPF`.
        formats: Payload types, or `webrtc-datachannel`.
        attributes: All `a=` lines, in order, name and value (empty without one).
    """

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]

    def value(self, name: str) -> str | None:
        """The first attribute of that name."""
        return next((value for key, value in self.attributes if key == name), None)

    def values(self, name: str) -> Iterator[str]:
        """All attributes of that name."""
        return (value for key, value in self.attributes if key == name)

    @property
    def mid(self) -> str:
        """Its name in the bundle; may be empty."""
        return self.value("mid") or ""

    @property
    def direction(self) -> str:
        """Of the media, as the peer sees it."""
        return next((key for key, _ in self.attributes if key in DIRECTIONS), "sendrecv")


@dataclass(frozen=True, slots=True)
class Offer:
    """What of an offer can be used.

    Attributes:
        sections: All of them, in order: an answer has one for each.
        audio: Index of the one whose audio is carried; None for none.
        events: Index of the one with the data channels; None for none.
        payload_type: Of Opus.
        ufrag: ICE.
        password: ICE.
        lite: The peer only answers checks.
        fingerprints: DTLS: digest's name in lower case, value in upper case.
        setup: `actpass`, `active` or `passive`.
        max_message_bytes: Longest event that the peer takes; 0 for any.
        sctp_port: The peer's.
        candidates: Where the peer may be.
    """

    sections: tuple[Section, ...]
    audio: int | None
    events: int | None
    payload_type: int
    ufrag: str
    password: str
    lite: bool
    fingerprints: tuple[tuple[str, str], ...]
    setup: str
    max_message_bytes: int = DEFAULT_MESSAGE_BYTES
    sctp_port: int = 5000
    candidates: tuple[RemoteCandidate, ...] = field(default=())


def _invalid(message: str) -> PeerProtocolError:
    return PeerProtocolError(f"The SDP offer cannot be used: {message}.", code="invalid_offer", param="sdp")


def read_offer(sdp: str) -> Offer:
    """Read an offer.

    Raises:
        PeerProtocolError: `invalid_offer`: it is not SDP, or has neither audio nor a data channel for us.
    """
    if len(sdp) > MAX_OFFER_BYTES:
        raise _invalid(f"it is longer than {MAX_OFFER_BYTES} bytes")
    session, sections = _split(sdp)
    bundle = _bundle(session, sections)
    audios = [at for at in bundle if _opus(sections[at]) is not None]
    audio = min(audios, key=lambda at: DIRECTIONS.index(sections[at].direction), default=None)
    events = next((at for at in bundle if _is_events(sections[at])), None)
    chosen = sorted(at for at in (audio, events) if at is not None)
    if not chosen:
        raise _invalid("it has neither Opus audio over UDP/TLS/RTP nor a data channel")

    def find(name: str) -> str | None:
        """Of the first section in use that says it (of bundled ones only one needs to), or of the session."""
        for at in chosen:
            value = sections[at].value(name)
            if value is not None:
                return value
        return next((value for key, value in session if key == name), None)

    ufrag, password = find("ice-ufrag"), find("ice-pwd")
    if not ufrag or not _ICE_TEXT.fullmatch(ufrag):
        raise _invalid("a=ice-ufrag is missing or malformed")
    if not password or len(password) < 22 or not _ICE_TEXT.fullmatch(password):
        raise _invalid("a=ice-pwd is missing or malformed")
    setup = find("setup") or "actpass"
    if setup not in ("actpass", "active", "passive"):
        raise _invalid("a=setup is neither actpass nor active nor passive")
    return Offer(
        sections,
        audio,
        events,
        payload_type=(_opus(sections[audio]) or 0) if audio is not None else 0,
        ufrag=ufrag,
        password=password,
        lite=any(key == "ice-lite" for key, _ in session),
        fingerprints=_fingerprints(session, [sections[at] for at in chosen]),
        setup=setup,
        max_message_bytes=_number(find("max-message-size"), DEFAULT_MESSAGE_BYTES),
        sctp_port=min(65_535, _number(find("sctp-port"), 5000)),
        candidates=tuple(_candidates([sections[at] for at in chosen])),
    )


def _split(sdp: str) -> tuple[list[tuple[str, str]], tuple[Section, ...]]:
    lines = [line.strip() for line in re.split(r"\r\n|\n|\r", sdp) if line.strip()]
    if not lines or lines[0] != "v=0":
        raise _invalid("it does not begin with v=0")
    session: list[tuple[str, str]] = []
    sections: list[Section] = []
    head: re.Match[str] | None = None
    attributes = session
    for line in [*lines, "m="]:
        if line.startswith("m="):
            if head is not None:
                sections.append(_section(head, attributes))
            if line == "m=":
                break
            head = _MEDIA.fullmatch(line[2:])
            if head is None or len(sections) >= MAX_SECTIONS:
                raise _invalid("an m= line is malformed, or there are too many")
            attributes = []
        elif line.startswith("a="):
            name, _, value = line[2:].partition(":")
            attributes.append((name, value.strip()))
    return session, tuple(sections)


def _section(head: re.Match[str], attributes: list[tuple[str, str]]) -> Section:
    kind, port, protocol, formats = head.groups()
    return Section(kind, int(port), protocol, tuple(formats.split()), tuple(attributes))


def _bundle(session: list[tuple[str, str]], sections: tuple[Section, ...]) -> list[int]:
    """The sections that share the transport of the first usable one, in order."""
    usable = [at for at, each in enumerate(sections) if _opus(each) is not None or _is_events(each)]
    if not usable:
        return []
    tag = sections[usable[0]].mid
    for key, value in session:
        semantic, *mids = value.split() or [""]
        if key == "group" and semantic == "BUNDLE" and tag and tag in mids:
            return [at for at in usable if sections[at].mid in mids]
    return usable[:1]


def _is_on(section: Section) -> bool:
    """Port 0 is a section that is switched off, unless it is `bundle-only` (RFC 9143, section 6)."""
    return section.port != 0 or section.value("bundle-only") is not None


def _opus(section: Section) -> int | None:
    """The payload type of Opus, if the section offers it in a way that we speak."""
    if section.kind != "audio" or not _is_on(section) or not section.protocol.startswith("UDP/TLS/RTP/SAVP"):
        return None
    for value in section.values("rtpmap"):
        found = _MAPPED.fullmatch(value)
        if found and found[2].lower() == "opus" and found[3] == "48000" and found[1] in section.formats:
            return int(found[1]) if int(found[1]) < 128 else None
    return None


def _is_events(section: Section) -> bool:
    return (
        section.kind == "application"
        and _is_on(section)
        and section.protocol in ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP")
        and "webrtc-datachannel" in section.formats
    )


def _fingerprints(session: list[tuple[str, str]], chosen: list[Section]) -> tuple[tuple[str, str], ...]:
    found: dict[tuple[str, str], None] = {}
    for key, value in [*session, *(pair for section in chosen for pair in section.attributes)]:
        if key == "fingerprint":
            digest, _, hexes = value.partition(" ")
            hexes = hexes.strip().upper()
            if not _HEX.fullmatch(hexes):
                raise _invalid("an a=fingerprint is malformed")
            found[digest.lower(), hexes] = None
    if not any(digest in ("sha-256", "sha-384", "sha-512") for digest, _ in found):
        raise _invalid("there is no a=fingerprint with sha-256, sha-384 or sha-512")
    return tuple(found)


def _candidates(chosen: list[Section]) -> Iterator[RemoteCandidate]:
    """Of the first section that has any: the others' are for peers that do not bundle."""
    seen: set[tuple[str, int]] = set()
    values = next((some for section in chosen if (some := list(section.values("candidate")))), [])
    for value in values:
        found = _CANDIDATE.fullmatch(value)
        if found is None or len(seen) >= MAX_CANDIDATES:
            continue
        foundation, component, transport, priority, host, port, kind, _ = found.groups()
        place = (host, int(port))
        is_udp = transport.lower() == "udp" and component == "1"
        if is_udp and 0 < place[1] < 65_536 and place not in seen:
            seen.add(place)
            yield RemoteCandidate(foundation, 1, "udp", int(priority) & 0xFFFFFFFF, *place, kind)


def _number(value: str | None, default: int) -> int:
    return int(value) if value is not None and re.fullmatch(r"[0-9]{1,12}", value) else default
