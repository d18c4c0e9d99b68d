"""What must a caller change in, and read from, a session description?

Pure. Only what the benches need: everything else in an SDP passes untouched.
"""

import re
from dataclasses import dataclass

_CANDIDATE = re.compile(
    r"^a=candidate:(?P<head>\S+ \d+ (?P<protocol>\w+) \d+) (?P<host>\S+) (?P<port>\d+) (?P<tail>.*?)\r?$",
    re.MULTILINE,
)
_OPUS = re.compile(r"^a=rtpmap:(\d+) opus/48000", re.MULTILINE | re.IGNORECASE)


class BadSdp(ValueError):
    """The description lacks what a call needs; the message says what."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where UDP packets go."""

    host: str
    port: int


def without_candidates(sdp: str) -> str:
    """The description as a browser offers it: the other side learns our addresses from our checks.

    So nothing can pass beside a relay, because nobody was told another way.
    """
    kept = [line for line in sdp.splitlines() if not line.startswith(("a=candidate:", "a=end-of-candidates"))]
    return "\r\n".join(kept) + "\r\n"


def udp_candidates(sdp: str) -> list[Address]:
    """Where the other side can be reached over UDP, in its own order, each address once."""
    found = [
        Address(one["host"], int(one["port"]))
        for one in _CANDIDATE.finditer(sdp)
        if one["protocol"].lower() == "udp"
    ]
    return list(dict.fromkeys(found))


def first_udp_candidate(sdp: str) -> Address:
    """The one before which a relay is put.

    Raises:
        BadSdp: there is none.
    """
    candidates = udp_candidates(sdp)
    if not candidates:
        raise BadSdp("the answer holds no UDP candidate")
    return candidates[0]


def through(sdp: str, relay: Address) -> str:
    """Put a relay between: its address in place of the first UDP candidate's, and no other candidate.

    Raises:
        BadSdp: there is no UDP candidate.
    """
    server, lines = first_udp_candidate(sdp), []
    for line in sdp.splitlines():
        found = _CANDIDATE.match(line)
        if found is None:
            lines.append(line)
        elif Address(found["host"], int(found["port"])) == server:
            lines.append(f"a=candidate:{found['head']} {relay.host} {relay.port} {found['tail']}")
    return "\r\n".join(lines) + "\r\n"


def in_every_section(sdp: str) -> str:
    """The description with the first section's candidates in all that have none.

    They share one transport (BUNDLE), so this says nothing new; aiortc only reads the last section's.
    """
    head, *sections = re.split(r"(?m)^(?=m=)", sdp)
    shared = [
        line for line in (sections or [""])[0].splitlines() if line.startswith(("a=candidate:", "a=end-of-"))
    ]
    extra = "".join(f"{line}\r\n" for line in shared)
    return head + "".join(one if "a=candidate:" in one else one + extra for one in sections)


def opus_payload_type(sdp: str) -> int:
    """The payload type of Opus.

    Raises:
        BadSdp: Opus is not in it.
    """
    found = _OPUS.search(sdp)
    if found is None:
        raise BadSdp("the answer does not take Opus")
    return int(found[1])
