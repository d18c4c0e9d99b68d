"""What is said of a reply: to the engine that makes it, to those who wait with it, and to the ledger."""

from dataclasses import replace
from typing import Any

from voicestack.core.rungs import Rung
from voicestack.core.turn_record import Use
from voicestack.fleet.member import Call
from voicestack.fleet.roster import Importance, Pick, Roster
from voicestack.ports import LlmRequest


def inner(request: LlmRequest, rung: Rung) -> LlmRequest:
    """The request as it goes to a replica.

    Which replica is asked has been decided here, so the rungs about that say only how important it is to the
    one that is asked. Orders are obeyed here.
    """
    is_ours = request.rung in (Rung.HEDGE, Rung.SHED)
    kept = request.rung if rung is Rung.FULL and not is_ours else rung
    is_same = kept is request.rung and request.orders is None
    return request if is_same else replace(request, rung=kept, orders=None)


def importance_of(request: LlmRequest) -> Importance:
    """Who waits before whom."""
    return Importance.DRAFT if request.draft else Importance.COMMITTED


def moved_reason(roster: Roster[Any], home: str, pick: Pick[Any]) -> str:
    """Why a session is served where it does not belong, see `core.rungs.REASONS`; empty if it belongs there.

    It belongs in this server's region, and at the replica that has its KV as long as that one is well. To
    move between replicas that are well is no rung.
    """
    before = [one for one in roster.now() if one.region == roster.policy.region]
    if not pick.choice.is_away:
        before = [one for one in before if one.name == home and one.name != pick.member.name]
    if not before:
        return ""
    if any(one.is_good for one in before):
        return "forecast" if pick.choice.is_away else ""
    return "overloaded" if any(one.is_full for one in before) else "unavailable"


def tell_use(request: LlmRequest, pick: Pick[Any], call: Call[Any], *, won: bool) -> None:
    """Write down who was asked for a reply, and how that went."""
    if request.trail is not None:
        about = pick.member.about
        request.trail.used(Use("llm", about.name, about.region, call.was_warm, call.first_ms, won))
