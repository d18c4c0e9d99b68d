"""Do error budgets, burn rates and their alerts say what Google's workbook says they should?"""

from collections.abc import Callable

import pytest

from tests.support.turn_records import a_record
from voicestack.core.marks import Mark
from voicestack.core.rungs import Rung
from voicestack.core.turn_record import Origin, TurnRecord
from voicestack.telemetry.slo import BUDGET, COLD, DEAD_AIR, PERIOD_S, SLOS, Count, assess, judge
from voicestack.telemetry.slo_counts import OTHER, SLOTS, Key, SloCounts

NOW_S = 1_700_000_000
GOOD, LATE = a_record(response_ms=500), a_record(response_ms=900)


def filled(**n_bad_in: int) -> Callable[[int], Count]:
    """Counts of a hundred turns a window: `s3600=72` are bad in the last hour."""
    return lambda window_s: Count(100, n_bad_in.get(f"s{window_s}", 0))


@pytest.mark.parametrize(
    ("record", "good"),
    [
        (GOOD, {"budget": True, "dead_air": True, "cold": True}),
        (LATE, {"budget": False, "dead_air": True, "cold": True}),
        (a_record(response_ms=1_501), {"budget": False, "dead_air": False, "cold": True}),
        (a_record(response_ms=500, warm=False), {"budget": True, "dead_air": True, "cold": False}),
        (
            a_record(response_ms=2_000, filler_ms=700, rungs=(Rung.FILLER,)),
            {"budget": False, "dead_air": True, "cold": True},
        ),
        (a_record(response_ms=None, outcome="failed"), {"budget": False, "dead_air": False, "cold": True}),
        (a_record(response_ms=None, outcome="interrupted"), {"cold": True}),
        (a_record(response_ms=None, outcome="silent", warm=None), {}),
        (a_record(response_ms=None, outcome="failed", without=(Mark.SPEECH_END,)), {"cold": True}),
    ],
)
def test_a_turn_counts_for_the_objectives_that_it_says_something_about(
    record: TurnRecord, good: dict[str, bool]
) -> None:
    assert judge(record) == good


def test_spending_exactly_the_budget_burns_at_one() -> None:
    assert Count(1_000, 50).burn(BUDGET) == pytest.approx(1.0)
    assert Count(1_000, 1).burn(DEAD_AIR) == pytest.approx(1.0)
    assert Count().burn(COLD) == 0.0


def test_the_budget_that_is_left() -> None:
    assert assess(BUDGET, filled()).budget_left_ratio == 1.0
    assert assess(BUDGET, filled(**{f"s{PERIOD_S}": 5})).budget_left_ratio == pytest.approx(0.0)
    assert assess(BUDGET, filled(**{f"s{PERIOD_S}": 10})).budget_left_ratio == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("n_bad", "firing"),
    [
        ({"s3600": 73, "s300": 73}, {"page_1h"}),
        ({"s3600": 72, "s300": 100}, set()),
        ({"s3600": 100, "s300": 10}, set()),
        ({"s21600": 31, "s1800": 31}, {"page_6h"}),
        ({"s259200": 6, "s21600": 6}, {"ticket_3d"}),
        ({"s259200": 6, "s21600": 4}, set()),
        (
            {"s3600": 90, "s300": 90, "s21600": 90, "s1800": 90, "s259200": 90},
            {"page_1h", "page_6h", "ticket_3d"},
        ),
    ],
)
def test_an_alert_needs_both_windows(n_bad: dict[str, int], firing: set[str]) -> None:
    alerts = assess(BUDGET, filled(**n_bad)).alerts
    assert {alert.rule.name for alert in alerts if alert.is_firing} == firing


def test_two_bad_turns_call_nobody() -> None:
    assert not any(alert.is_firing for alert in assess(DEAD_AIR, lambda window_s: Count(2, 2)).alerts)
    assert all(alert.is_firing for alert in assess(DEAD_AIR, lambda window_s: Count(3, 3)).alerts)


def test_what_the_dashboard_is_told() -> None:
    told = assess(BUDGET, filled(s3600=73, s300=80)).as_json()
    assert told["objective"] == 0.95
    assert told["windows"] == [
        {"window_s": window_s, "n": 100, "bad": bad, "burn": pytest.approx(bad / 5)}
        for window_s, bad in ((300, 80), (1_800, 0), (3_600, 73), (21_600, 0), (259_200, 0))
    ]
    assert told["alerts"] == [
        {"name": "page_1h", "firing": True, "burn": pytest.approx(14.6), "threshold": 14.4},
        {"name": "page_6h", "firing": False, "burn": 0.0, "threshold": 6.0},
        {"name": "ticket_3d", "firing": False, "burn": 0.0, "threshold": 1.0},
    ]


def at(at_s: int, response_ms: float = 500, **origin: str) -> TurnRecord:
    return a_record(response_ms=response_ms, began_unix_ms=at_s * 1_000, origin=Origin(**origin))


def test_turns_are_counted_in_the_windows_that_they_fall_into() -> None:
    counts = SloCounts()
    for ago_s, response_ms in (
        (10, 900),
        (200, 500),
        (3_000, 900),
        (20_000, 500),
        (200_000, 900),
        (2_000_000, 500),
    ):
        counts.add(at(NOW_S - ago_s, response_ms))
    found = [
        counts.count(BUDGET, window_s, NOW_S) for window_s in (60, 300, 3_600, 21_600, 259_200, PERIOD_S)
    ]
    assert found == [Count(1, 1), Count(2, 1), Count(3, 2), Count(4, 2), Count(5, 3), Count(6, 3)]


def test_a_slot_that_comes_round_again_begins_at_zero_and_the_old_stay_out() -> None:
    counts = SloCounts()
    counts.add(at(NOW_S - PERIOD_S))
    counts.add(at(NOW_S))
    counts.add(at(NOW_S - PERIOD_S))
    assert counts.count(BUDGET, PERIOD_S, NOW_S) == Count(1, 0)
    assert counts.count(BUDGET, 21_600, NOW_S + SLOTS * 30) == Count()


def test_turns_are_told_apart_by_whose_they_are() -> None:
    counts = SloCounts()
    counts.add(at(NOW_S, tenant="acme", route="websocket", region="eu"))
    counts.add(at(NOW_S, 900, tenant="acme", route="webrtc", region="us"))
    counts.add(at(NOW_S, 900, tenant="else", route="webrtc", region="us"))
    assert counts.count(BUDGET, 300, NOW_S, Key(tenant="acme")) == Count(2, 1)
    assert counts.count(BUDGET, 300, NOW_S, Key(route="webrtc")) == Count(2, 2)
    assert counts.count(BUDGET, 300, NOW_S, Key("acme", region="eu")) == Count(1, 0)
    assert counts.count(BUDGET, 300, NOW_S) == Count(3, 2)


def test_memory_is_bounded_and_nothing_is_lost_by_it() -> None:
    counts = SloCounts(n_keys=3)
    for number in range(10):
        counts.add(at(NOW_S, tenant=f"tenant{number}"))
    assert list(counts.keys()) == [
        *(Key(f"tenant{number}", "websocket", "local") for number in range(2)),
        OTHER,
    ]
    assert counts.count(BUDGET, 300, NOW_S) == Count(10, 0)
    assert counts.count(BUDGET, 300, NOW_S, Key(tenant="other")) == Count(8, 0)


def test_every_objective_has_a_column() -> None:
    counts = SloCounts()
    counts.add(a_record(response_ms=1_600, warm=False, began_unix_ms=NOW_S * 1_000))
    assert [counts.count(slo, 300, NOW_S) for slo in SLOS] == [Count(1, 1)] * 3
