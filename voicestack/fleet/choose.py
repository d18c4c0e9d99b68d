"""Which replica is asked? Pure: the same replicas, wish and draws choose the same one.

A session stays where the KV of its conversation is. Everybody else takes the better of two drawn at random,
which keeps the longest queue as short as asking all of them nearly does, without the herd that follows the
one with the shortest (Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from voicestack.fleet.breaker import BreakerState
from voicestack.fleet.replica import Replica


@dataclass(frozen=True, slots=True)
class ChoosePolicy:
    """How replicas are weighed.

    Attributes:
        region: Where this server is.
        cold_ms: What a replica that is not warm is thought to take longer.
        margin_ms: Another region must be sooner by so much: what is not measured of it.
        stay_ms: A session moves to another replica only to gain more than this,
        stay_ratio: or this part of what it takes where it is.
        may_shed: Whether other regions are asked while this one can answer.
    """

    region: str = "local"
    cold_ms: float = 2_000
    margin_ms: float = 50
    stay_ms: float = 30
    stay_ratio: float = 0.25
    may_shed: bool = True


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be chosen for.

    Attributes:
        stays_at: The replica that has the session's KV; empty for none.
        without: Replicas that are not to be asked: they have been.
        remaining_ms: What is left of the budget; None for any amount.
        elsewhere: Only to another replica than `stays_at`, in whatever region: it is to be shed.
        only_good: Rather nobody than one that is cold, failing or full.
        only_near: Rather nobody than one in another region.
        most_ratio: Capacity that may be in use at most, 0..1.
    """

    stays_at: str = ""
    without: Collection[str] = ()
    remaining_ms: float | None = None
    elsewhere: bool = False
    only_good: bool = False
    only_near: bool = False
    most_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """Who is asked.

    Attributes:
        name: Its name.
        forecast_ms: When its first result is expected, the way there and back included.
        is_away: It is in another region.
    """

    name: str
    forecast_ms: float
    is_away: bool = False


def score_ms(replica: Replica, policy: ChoosePolicy) -> float:
    """When a first result could be here: predicted queue, the way there and back, what being cold costs."""
    return replica.forecast_ms(policy.cold_ms) + replica.rtt_ms


def sheds(
    local_wait_ms: float, rtt_ms: float, remote_ms: float, remaining_ms: float | None, margin_ms: float
) -> bool:
    """Whether another region should answer: it is sooner by the margin, and in time."""
    away_ms = rtt_ms + remote_ms + margin_ms
    return local_wait_ms > away_ms and (remaining_ms is None or away_ms <= remaining_ms)


def choose(
    replicas: Sequence[Replica], wish: Wish, policy: ChoosePolicy, draws: tuple[float, float] = (0.0, 0.0)
) -> Choice | None:
    """The replica to ask; None if there is none left.

    Args:
        replicas: Of one stage.
        wish: See there.
        policy: See there.
        draws: Two numbers in [0, 1), drawn at random.
    """
    left = [one for one in replicas if one.name not in wish.without and _has_room(one, wish.most_ratio)]
    if wish.elsewhere:
        left = [one for one in left if one.name != wish.stays_at]
    if wish.only_good:
        left = [one for one in left if one.is_good]
    if wish.only_near:
        left = [one for one in left if one.region == policy.region]
    best = _best_tier(left)
    here = [one for one in best if one.region == policy.region]
    away = [one for one in best if one.region != policy.region]
    if not here or (wish.elsewhere and away):
        found = min(best, key=lambda one: score_ms(one, policy), default=None)
    else:
        found = _among(here, wish, policy, draws)
        nearest = min(away, key=lambda one: score_ms(one, policy), default=None)
        if policy.may_shed and nearest is not None and _is_better_away(found, nearest, wish, policy):
            found = nearest
    if found is None:
        return None
    return Choice(found.name, score_ms(found, policy), found.region != policy.region)


def _has_room(replica: Replica, most_ratio: float) -> bool:
    """Whether one more request leaves it within its cap, or within a part of it. One that idles has room."""
    capacity = replica.cap if replica.cap is not None else replica.places
    if most_ratio < 1.0:
        return replica.in_flight == 0 or replica.in_flight + 1 <= most_ratio * capacity
    return replica.cap is None or replica.in_flight < replica.cap


def _best_tier(replicas: Sequence[Replica]) -> list[Replica]:
    """Those that least speaks against. Somebody is asked even if all are failing: they may be well again."""
    tiers = [(_tier(one), one) for one in replicas]
    best = min((tier for tier, _ in tiers), default=0)
    return [one for tier, one in tiers if tier == best]


def _tier(replica: Replica) -> int:
    if replica.is_good:
        return 0
    is_closed = replica.breaker is BreakerState.CLOSED
    is_up = replica.state in ("warm", "cold")
    if is_closed and is_up:
        return 2 if replica.is_full else 1
    may_probe = replica.breaker is BreakerState.HALF_OPEN and replica.may_probe
    if may_probe and is_up:
        return 3
    return 4 if is_closed else 5


def _among(here: Sequence[Replica], wish: Wish, policy: ChoosePolicy, draws: tuple[float, float]) -> Replica:
    """Of equals in this region: where the session is, or the better of two."""
    drawn = _two(here, draws)
    found = min(drawn, key=lambda one: score_ms(one, policy))
    home = next((one for one in here if one.name == wish.stays_at), None)
    if home is None:
        return found
    gain_ms = score_ms(home, policy) - score_ms(found, policy)
    worth_ms = max(policy.stay_ms, policy.stay_ratio * score_ms(home, policy))
    return found if gain_ms > worth_ms else home


def _two(replicas: Sequence[Replica], draws: tuple[float, float]) -> list[Replica]:
    """Two different ones, if there are two."""
    first = int(draws[0] * len(replicas))
    others = [one for n, one in enumerate(replicas) if n != first]
    return [replicas[first], *others[int(draws[1] * len(others)) :][:1]]


def _is_better_away(home: Replica, away: Replica, wish: Wish, policy: ChoosePolicy) -> bool:
    return sheds(
        score_ms(home, policy),
        away.rtt_ms,
        away.forecast_ms(policy.cold_ms),
        wish.remaining_ms,
        policy.margin_ms,
    )
