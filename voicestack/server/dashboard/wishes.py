"""What does the query of a request to the dashboard ask for?"""

from collections.abc import Mapping

from voicestack.core.errors import PeerProtocolError
from voicestack.core.marks import STAGES
from voicestack.telemetry.pages import Place
from voicestack.telemetry.turn_filter import TurnFilter
from voicestack.telemetry.turn_table import OUTCOMES, RUNGS, VERDICTS

Query = Mapping[str, str]

DEFAULT_MS = 3_600_000
"""The last hour."""
LAST_MS = 4_102_444_800_000
"""The year 2100: what is later is a mistake, or microseconds."""
MAX_CHARS = 200
PAGE_TURNS = 100
MAX_PAGE_TURNS = 500

_WORDS = ("tenant", "route", "region", "profile", "release", "replica")
_CHOICES = {"verdict": VERDICTS, "outcome": OUTCOMES, "rung": RUNGS, "stage": STAGES}
_COLD = {"0": False, "1": True}


def filter_of(query: Query, now_ms: int, side: str = "") -> TurnFilter:
    """The turns that are wanted.

    Args:
        query: Of the request.
        now_ms: Unix time.
        side: `a_` or `b_` for one side of a comparison: its times and its release have names of their own.

    Raises:
        PeerProtocolError: a value cannot be.
    """
    to_ms = whole(query, f"{side}to", now_ms + 1)
    from_ms = whole(query, f"{side}from", max(0, to_ms - DEFAULT_MS))
    if not from_ms < to_ms <= LAST_MS:
        raise wrong(f"{side}from", "must be before 'to', and both Unix times in milliseconds")
    words = {name: text(query, name) for name in _WORDS}
    if f"{side}release" in query:
        words["release"] = text(query, f"{side}release")
    choices = {name: choice(query, name, names) for name, names in _CHOICES.items()}
    cold = choice(query, "cold", tuple(_COLD))
    return TurnFilter(from_ms, to_ms, **words, **choices, is_cold=None if cold is None else _COLD[cold])


def page_of(query: Query) -> tuple[int, Place | None]:
    """How many turns are wanted at once, and after which.

    Raises:
        PeerProtocolError: a value cannot be.
    """
    limit = whole(query, "limit", PAGE_TURNS)
    if not 1 <= limit <= MAX_PAGE_TURNS:
        raise wrong("limit", f"must be from 1 to {MAX_PAGE_TURNS}")
    before = text(query, "before")
    if before is None:
        return limit, None
    began_ms, _, turn_id = before.partition(".")
    if not (began_ms.isascii() and began_ms.isdigit() and turn_id):
        raise wrong("before", "must be what an answer has as 'next'")
    return limit, Place(int(began_ms), turn_id)


def whole(query: Query, name: str, default: int) -> int:
    """A whole number. Raises as `filter_of` does."""
    said = query.get(name, "")
    if not said:
        return default
    if not (said.isascii() and said.isdigit() and len(said) <= 15):
        raise wrong(name, "must be a whole number")
    return int(said)


def text(query: Query, name: str) -> str | None:
    """A word; None if it is not there. Raises as `filter_of` does."""
    said = query.get(name, "")
    if len(said) > MAX_CHARS:
        raise wrong(name, f"has more than {MAX_CHARS} characters")
    return said or None


def choice(query: Query, name: str, names: tuple[str, ...]) -> str | None:
    """One of some words; None if it is not there. Raises as `filter_of` does."""
    said = query.get(name, "")
    if said and said not in names:
        raise wrong(name, f"must be one of {', '.join(names)}")
    return said or None


def wrong(name: str, why: str) -> PeerProtocolError:
    """The error for a value that cannot be."""
    return PeerProtocolError(f"Invalid value for '{name}': it {why}.", code="invalid_value", param=name)
