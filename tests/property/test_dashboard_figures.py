"""Are the dashboard's figures those of the raw records? Each is computed again, turn by turn, in Python."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.made_up_turns import HOUR_MS, REGIONS, RELEASES, ROUTES, TENANTS, Turns
from tests.support.nearly import same
from voicestack.core.marks import STAGES, Mark
from voicestack.core.turn_record import TurnRecord
from voicestack.telemetry.comparison import comparison, verdict_on
from voicestack.telemetry.overview import HEAT_EDGES_MS, MAX_STEPS, Selected, heat, steps_of
from voicestack.telemetry.percentiles import grouped, percentiles
from voicestack.telemetry.reading import LedgerReader
from voicestack.telemetry.ring import Ring
from voicestack.telemetry.slo import BUDGET, WINDOWS_S
from voicestack.telemetry.turn_filter import OPERATOR, Reader, TurnFilter
from voicestack.telemetry.turn_table import OUTCOMES, RUNGS, VERDICTS, TurnTable

NOW_MS = 1_795_886_000_000
SHARES_MS = {"endpoint": 550.0, "llm": 100.0}

choice = st.sampled_from
WORDS: dict[str, st.SearchStrategy[Any]] = {
    "tenant": choice(TENANTS),
    "route": choice(ROUTES),
    "region": choice(REGIONS),
    "release": choice(RELEASES),
    "verdict": choice(VERDICTS),
    "outcome": choice(OUTCOMES),
    "rung": choice(RUNGS),
    "stage": choice(STAGES),
    "replica": choice(["llm-1-eu-west", "llm-3-eu-west", "none"]),
    "is_cold": st.booleans(),
}


@st.composite
def periods_and_words(draw: st.DrawFn) -> TurnFilter:
    """With two words at most: with more there would be nothing left."""
    names = draw(st.lists(choice(sorted(WORDS)), max_size=2, unique=True))
    from_ms = NOW_MS - draw(choice([3 * HOUR_MS, 2 * HOUR_MS, HOUR_MS // 2, 1]))
    to_ms = NOW_MS + draw(choice([0, -HOUR_MS // 4, 30 * HOUR_MS])) if from_ms < NOW_MS - 1 else NOW_MS
    return TurnFilter(from_ms, to_ms, **{name: draw(WORDS[name]) for name in names})


filters = periods_and_words()
readers = choice([OPERATOR, OPERATOR, Reader("acme"), Reader("ringo")])


def some_turns(seed: int, n: int) -> list[TurnRecord]:
    turns = Turns(seed, bad_from_ms=NOW_MS - 2 * HOUR_MS, p_cold=0.2)
    return list(turns.many(n, NOW_MS - 3 * HOUR_MS, NOW_MS))


def matching(records: Iterable[TurnRecord], reader: Reader, wanted: TurnFilter) -> list[TurnRecord]:
    def fits(one: TurnRecord) -> bool:
        pairs = [
            *((getattr(wanted, name), getattr(one.origin, name)) for name in ("tenant", "route", "profile")),
            *((getattr(wanted, name), getattr(one.origin, name)) for name in ("region", "release")),
            (wanted.verdict, one.verdict),
            (wanted.outcome, one.outcome),
            (wanted.stage, one.blamed),
            (wanted.is_cold, one.was_cold),
        ]
        return (
            (reader.is_operator or one.origin.tenant == reader.tenant)
            and wanted.from_ms <= one.began_unix_ms < wanted.to_ms
            and all(asked in (None, found) for asked, found in pairs)
            and (wanted.rung is None or wanted.rung in [taken.rung.value for taken in one.taken])
            and (wanted.replica is None or wanted.replica in [use.replica for use in one.uses])
        )

    return [one for one in records if fits(one)]


def ranked(values: Iterable[float | None]) -> dict[str, Any]:
    known = sorted(value for value in values if value is not None)

    def at(share: float) -> float | None:
        return known[max(0, math.ceil(share * len(known) - 1e-9) - 1)] if known else None

    top = known[-1] if known else None
    return {"n": len(known), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": top}


def share_of(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def of_rank(values: Iterable[float | None]) -> dict[str, Any]:
    found = ranked(values)
    return {name: found[name] for name in ("p50", "p95", "p99")}


def is_over(one: TurnRecord) -> bool:
    return one.verdict in ("declared", "missed")


def is_dead(one: TurnRecord) -> bool:
    if one.silence_ms is not None:
        return one.silence_ms > 1_500
    return one.outcome in ("failed", "refused") and Mark.SPEECH_END in one.marks.at_ns


def expected(records: Sequence[TurnRecord], wanted: TurnFilter) -> dict[str, Any]:
    """The page without `slo`, `from`, `to`."""
    pure = [one for one in records if one.was_cold == bool(wanted.is_cold)]
    work_ms = sum(one.marks.work_ms() for one in records)
    taken = Counter(rung for one in records for rung in {taken.rung.value for taken in one.taken})
    return {
        "n_turns": len(records),
        "budget_ms": ranked(one.budget_ms for one in records)["p50"],
        "response": ranked(one.marks.response_ms for one in records if not one.was_cold),
        "cold_response": ranked(one.marks.response_ms for one in records if one.was_cold),
        "heard": ranked(one.marks.heard_after_ms for one in pure),
        "silence": ranked(one.silence_ms for one in pure),
        "cold_rate": share_of(sum(one.was_cold for one in records), len(records)),
        "verdicts": {name: sum(one.verdict == name for one in records) for name in VERDICTS},
        "outcomes": {name: sum(one.outcome == name for one in records) for name in OUTCOMES},
        "rungs": {rung: taken[rung] for rung in RUNGS if taken[rung]},
        "dead_air": sum(map(is_dead, records)),
        "hidden_ratio": share_of(sum(one.marks.hidden_ms() for one in records), work_ms),
        "by": {
            name: groups(records, pure, lambda one, name=name: getattr(one.origin, name))  # type: ignore[misc]
            for name in ("tenant", "route", "profile", "region", "release")
        },
        "stages": [stage_row(pure, stage) for stage in STAGES],
        **over_time(records, pure, wanted),
        "oldest_unix_ms": None,
    }


def groups(
    records: Sequence[TurnRecord], pure: Sequence[TurnRecord], key: Callable[[TurnRecord], str]
) -> list[dict[str, Any]]:
    out = []
    for name in {key(one) for one in records}:
        own = [one for one in records if key(one) == name]
        met = sum(one.verdict == "met" for one in own)
        out.append(
            {
                "name": name,
                "n": len(own),
                **of_rank(one.marks.response_ms for one in pure if key(one) == name),
                "met_ratio": share_of(met, met + sum(map(is_over, own))),
            }
        )
    return sorted(out, key=lambda one: (-one["n"], one["name"]))


def stage_row(pure: Sequence[TurnRecord], stage: str) -> dict[str, Any]:
    spans = [span for one in pure for span in one.marks.spans() if span.stage == stage]
    took = ranked(span.duration_ms for span in spans)
    exposed = ranked(span.duration_ms - span.hidden_ms for span in spans)
    return {
        "stage": stage,
        **{name: took[name] for name in ("n", "p50", "p95", "p99")},
        "budget_ms": SHARES_MS.get(stage),
        "exposed_p50": exposed["p50"],
        "exposed_p95": exposed["p95"],
        "hidden_p50": ranked(span.hidden_ms for span in spans)["p50"],
        "blamed": sum(is_over(one) and one.blamed == stage for one in pure),
    }


def over_time(
    records: Sequence[TurnRecord], pure: Sequence[TurnRecord], wanted: TurnFilter
) -> dict[str, Any]:
    first_ms, step_ms, n_steps = steps_of(wanted)
    series, interrupted = [], []
    for at in range(first_ms, first_ms + n_steps * step_ms, step_ms):
        own = [one for one in records if at <= one.began_unix_ms < at + step_ms]
        warm = [one for one in pure if at <= one.began_unix_ms < at + step_ms]
        verdicts = Counter(one.verdict for one in own)
        series.append(
            {
                "at": at,
                "n": len(own),
                **of_rank(one.marks.response_ms for one in warm),
                **{name: verdicts[name] for name in ("met", "declared", "missed")},
                "cold": sum(one.was_cold for one in own),
            }
        )
        broken = sum(one.marks.interrupted for one in own)
        cut = sum(one.was_cut_off for one in own)
        interrupted.append({"at": at, "n": len(own), "interrupted": broken, "cut_off": cut})
    cut_off = sum(one.was_cut_off for one in records)
    interruptions = {
        "n_turns": len(records),
        "interrupted": sum(one.marks.interrupted for one in records),
        "cut_off": cut_off,
        "cut_off_ratio": share_of(cut_off, len(records)),
        "drafts": sum(one.n_drafts for one in records),
        "drafts_won": sum(one.marks.drafted for one in records),
        "drafted_tokens": sum(one.drafted_tokens for one in records),
        "wasted_tokens": sum(one.wasted_tokens for one in records),
        "series": interrupted,
    }
    return {"series": series, "interruptions": interruptions}


@settings(max_examples=40)
@given(seed=st.integers(0, 2**16), n=st.integers(0, 150), reader=readers, wanted=filters)
def test_the_overview_is_that_of_the_records(seed: int, n: int, reader: Reader, wanted: TurnFilter) -> None:
    records = some_turns(seed, n)
    page = LedgerReader(Ring(1_000, records), SHARES_MS).overview(reader, wanted)
    slo = page.pop("slo")
    assert (page.pop("from"), page.pop("to")) == (wanted.from_ms, wanted.to_ms)
    same(page, expected(matching(records, reader, wanted), wanted))
    assert [one["window_s"] for one in slo["windows"]] == list(WINDOWS_S)
    for window in slo["windows"]:
        last = replace(wanted, from_ms=wanted.to_ms - window["window_s"] * 1_000)
        judged = [one for one in matching(records, reader, last) if one.verdict != "unmeasured"]
        bad = sum(map(is_over, judged))
        assert (window["n"], window["bad"]) == (len(judged), bad)
        burn = bad / len(judged) / (1 - BUDGET.objective_ratio) if judged else 0.0
        assert math.isclose(window["burn"], burn)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**16), n=st.integers(0, 150), wanted=filters)
def test_the_heat_map_is_that_of_the_records(seed: int, n: int, wanted: TurnFilter) -> None:
    records = some_turns(seed, n)
    table = TurnTable.of(records)
    found = heat(Selected.of(table, table.mask(OPERATOR, wanted), wanted))
    pure = [one for one in matching(records, OPERATOR, wanted) if one.was_cold == bool(wanted.is_cold)]
    edges = [0.0, *HEAT_EDGES_MS, math.inf]
    first_ms, step_ms, n_steps = steps_of(wanted)
    for n_step in range(n_steps):
        at = first_ms + n_step * step_ms
        took = [one.marks.response_ms for one in pure if at <= one.began_unix_ms < at + step_ms]
        cells = [sum(ms is not None and low < ms <= high for ms in took) for low, high in pairwise(edges)]
        assert found["counts"][n_step] == cells
        assert found["at"][n_step] == at


@given(
    from_ms=st.integers(0, 4_102_444_800_000),
    length_ms=st.integers(1, 4_102_444_800_000),
)
def test_steps_cover_the_period(from_ms: int, length_ms: int) -> None:
    to_ms = from_ms + length_ms
    first_ms, step_ms, n_steps = steps_of(TurnFilter(from_ms, to_ms))
    assert 1 <= n_steps <= MAX_STEPS
    assert first_ms <= from_ms < first_ms + step_ms
    assert first_ms + (n_steps - 1) * step_ms < to_ms <= first_ms + n_steps * step_ms


@given(
    values=st.lists(st.tuples(st.floats(0, 1e6) | st.just(math.nan), st.integers(0, 4)), max_size=80),
)
def test_percentiles_of_groups_are_those_of_each(values: list[tuple[float, int]]) -> None:
    numbers = np.array([value for value, _ in values], dtype=np.float64)
    places = np.array([group for _, group in values], dtype=np.int64)
    n, found = grouped(numbers, places, 5)
    for group in range(5):
        alone = percentiles(numbers[places == group])
        assert n[group] == alone["n"]
        assert {name: of[group] for name, of in found.items()} == {name: alone[name] for name in found}
    same(percentiles(numbers), ranked(None if math.isnan(value) else value for value, _ in values))


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**16),
    n=st.integers(0, 120),
    reader=readers,
    wanted=filters,
    limit=st.integers(1, 40),
)
def test_pages_hold_every_turn_once(
    seed: int, n: int, reader: Reader, wanted: TurnFilter, limit: int
) -> None:
    records = [
        replace(one, began_unix_ms=one.began_unix_ms // 600_000 * 600_000) for one in some_turns(seed, n)
    ]
    ledger = LedgerReader(Ring(1_000, records), {})
    whole = sorted(
        matching(records, reader, wanted), key=lambda one: (one.began_unix_ms, one.id), reverse=True
    )
    seen, after = list[TurnRecord](), None
    while True:
        page = ledger.page(reader, wanted, limit, after)
        assert page.n_total == len(whole)
        assert len(page.records) <= limit
        seen += page.records
        after = page.after
        if after is None:
            break
    assert seen == whole


# --- comparisons ------------------------------------------------------------------------------------------


def side(records: Sequence[TurnRecord]) -> Selected:
    wanted = TurnFilter(NOW_MS - 3 * HOUR_MS, NOW_MS)
    table = TurnTable.of(records)
    return Selected.of(table, table.mask(OPERATOR, wanted), wanted)


def test_the_same_turns_are_the_same() -> None:
    records = some_turns(1, 400)
    found = comparison(side(records), side(records))
    assert found["verdict"] == "same"
    assert found["ratio"]["p50"]["value"] == 1.0


def test_slower_turns_are_worse_and_quicker_ones_better() -> None:
    fast, slow = (
        some_turns(1, 400),
        list(Turns(2, bad_from_ms=NOW_MS - HOUR_MS).many(400, NOW_MS - HOUR_MS, NOW_MS)),
    )
    assert comparison(side(fast), side(slow))["verdict"] == "worse"
    assert comparison(side(slow), side(fast))["verdict"] == "better"


def test_a_handful_of_turns_says_nothing() -> None:
    found = comparison(side(some_turns(1, 400)), side(some_turns(2, 10)))
    assert (found["verdict"], found["ratio"]) == ("unknown", {"p50": None, "p95": None})


def test_worse_in_one_percentile_is_worse() -> None:
    better = {"value": 0.8, "low": 0.7, "high": 0.9}
    assert verdict_on({"p50": better, "p95": {"value": 1.4, "low": 1.1, "high": 1.8}}) == "worse"
    assert verdict_on({"p50": better, "p95": {"value": 1.4, "low": 0.9, "high": 1.8}}) == "better"
    assert verdict_on({"p50": {"value": 1.01, "low": 1.001, "high": 1.02}, "p95": None}) == "same"


def test_the_interval_is_the_bootstraps() -> None:
    """The short way to it gives what drawing turn by turn gives."""
    a, b = some_turns(3, 300), some_turns(4, 300)
    found = comparison(side(a), side(b))["ratio"]["p95"]
    random = np.random.default_rng(1)
    times = [
        np.array([ms for one in some if not one.was_cold and (ms := one.marks.response_ms) is not None])
        for some in (a, b)
    ]
    drawn = [
        np.sort(random.choice(one, (4_000, len(one))), axis=1)[:, math.ceil(0.95 * len(one)) - 1]
        for one in times
    ]
    low, high = np.quantile(drawn[1] / drawn[0], [0.025, 0.975])
    assert math.isclose(found["low"], low, rel_tol=0.02)
    assert math.isclose(found["high"], high, rel_tol=0.02)
