"""Can an offer do harm? Real ones, mutilated: each is answered or refused, and nothing else happens."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_rtc_offer import answered
from voicestack.core.errors import PeerProtocolError
from voicestack.transports.rtc_offer import read_offer

OFFERS = [path.read_text() for path in sorted((Path(__file__).parent.parent / "data" / "offers").glob("*"))]
PIECES = [
    "",
    " ",
    ":",
    "/",
    "-1",
    "99999999999999999999",
    "\r",
    "\n",
    "\0",
    "a=",
    "m=",
    "=",
    "\u00e4",
    "9" * 70,
]


@st.composite
def mutilated(draw: st.DrawFn) -> str:
    """A real offer with lines lost, repeated, moved, or changed."""
    lines = draw(st.sampled_from(OFFERS)).splitlines()
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(lines) - 1)))
        match draw(st.integers(0, 4)):
            case 0:
                del lines[at : at + 1]
            case 1:
                lines[at:at] = lines[at : at + 1]
            case 2:
                other = draw(st.integers(0, max(0, len(lines) - 1)))
                lines[at : at + 1], lines[other : other + 1] = (
                    lines[other : other + 1],
                    lines[at : at + 1],
                )
            case 3 if lines:
                line = lines[at]
                cut = draw(st.integers(0, len(line)))
                end = draw(st.integers(cut, len(line)))
                lines[at] = line[:cut] + draw(st.sampled_from(PIECES) | st.text(max_size=8)) + line[end:]
            case _:
                lines.insert(at, draw(st.text(max_size=60)))
    return draw(st.sampled_from(["\r\n", "\n", "\r"])).join(lines)


@given(mutilated() | st.text(max_size=300))
def test_it_is_answered_or_refused(sdp: str) -> None:
    try:
        offer = read_offer(sdp)
    except PeerProtocolError:
        return
    answer = answered(offer)
    assert answer.count("\nm=") == len(offer.sections)
    answer.encode()
    for line in answer.splitlines():
        assert line[1:2] == "="
