"""Is what the planner bench says of recorded turns true, on turns that can be reckoned by hand?"""

import argparse
import random
from dataclasses import replace
from pathlib import Path

import pytest

from voicestack.cli import bench_planner
from voicestack.cli.bench_planner import TRACE, figures
from voicestack.cli.planner_replay import (
    MOST_COST,
    RTT_MS,
    Case,
    Planned,
    Played,
    audible_ms,
    best,
    cost,
    kept_ratio,
    nothing,
    score,
)
from voicestack.cli.planner_trace import Served, read_trace, write_trace
from voicestack.core.budget import Budget
from voicestack.core.errors import ConfigError
from voicestack.core.rungs import Rung

BUDGET = Budget(shares_ms={"asr": 50, "llm": 100, "tts": 80})
QUICK = Served(0, 1, llm_ms=100, clause_ms=40, tts_ms=20, short_clause_ms=20, short_tts_ms=10)
SLOW = replace(QUICK, llm_ms=900)


def turns(n: int, seed: int = 1) -> list[Served]:
    """One after the other; every tenth is nine times as slow."""
    rng = random.Random(seed)
    return [
        replace(QUICK, at_ms=2_000.0 * place, llm_ms=(900 if place % 10 == 9 else 100) + rng.uniform(-10, 10))
        for place in range(n)
    ]


def test_what_each_rung_would_have_taken() -> None:
    case = Case(here=SLOW, there=QUICK, is_cached=True)
    assert audible_ms(case, Rung.FULL, 50) == 960
    assert audible_ms(case, Rung.SHORT_CLAUSE, 50) == 930
    assert audible_ms(case, Rung.SHORT_CLAUSE, 925) == 935
    assert audible_ms(case, Rung.HEDGE, 50) == 50 + 160
    assert audible_ms(case, Rung.HEDGE, 850) == 960  # the first one is there before the second
    assert audible_ms(case, Rung.SHED, 50) == 50 + RTT_MS + 160
    assert audible_ms(case, Rung.CACHED, 50) == 70


def test_a_turn_costs_what_was_given_up_and_how_late_it_is() -> None:
    assert cost(Played(Rung.FULL, 400), 400) == 0
    assert cost(Played(Rung.HEDGE, 400), 400) == Rung.HEDGE.place / len(Rung)
    assert cost(Played(Rung.FULL, 900), 400) == pytest.approx(1.5)
    assert cost(Played(Rung.FULL, 1e9), 400) == MOST_COST


def test_the_oracle_takes_the_first_rung_that_is_in_time_or_what_costs_least() -> None:
    case = Case(here=SLOW, there=QUICK, is_cached=False)
    assert best(case, 1_000).rung is Rung.FULL
    assert best(case, 940).rung is Rung.SHORT_CLAUSE
    assert best(case, 200).rung is Rung.HEDGE
    assert best(case, 100).rung is Rung.HEDGE
    assert best(replace(case, there=SLOW), 100).rung is Rung.FULL


def test_a_hedge_is_taken_when_the_first_token_does_not_come() -> None:
    """With forty quick turns known, a slow one is found out in time."""
    planned = Planned(BUDGET, measured=True)
    for place in range(40):
        case = Case(replace(QUICK, at_ms=2_000.0 * place), replace(QUICK, llm_ms=110), is_cached=False)
        assert planned(case, 400).rung is Rung.FULL
    played = planned(Case(replace(SLOW, at_ms=90_000), QUICK, is_cached=False), 400)
    assert played.rung is Rung.HEDGE
    assert played.audible_ms <= 400


def test_nothing_is_given_up_where_nothing_is_to_be_gained() -> None:
    cases = [Case(turn, turn, is_cached=False) for turn in turns(40)]
    found = score(cases, Planned(BUDGET, measured=True), 2_000)
    assert (found.missed_ratio, found.mean_place, found.regret) == (0, 0, 0)


def test_forecasts_are_better_than_thresholds_and_than_nothing() -> None:
    of = figures(turns(200), BUDGET, [350], seed=2)["scores"]["350"]
    assert of["oracle"]["regret"] == 0
    assert of["nothing"]["missed_ratio"] == pytest.approx(0.1)
    assert of["nothing"]["missed_ratio"] > 5 * of["forecasts"]["missed_ratio"]
    assert of["thresholds"]["mean_place"] > 3 * of["forecasts"]["mean_place"]
    assert 0 < 5 * of["forecasts"]["regret"] < min(of["nothing"]["regret"], of["thresholds"]["regret"])


def test_the_same_seed_gives_the_same_figures() -> None:
    assert figures(turns(100), BUDGET, [300], seed=3) == figures(turns(100), BUDGET, [300], seed=3)
    assert figures(turns(100), BUDGET, [300], seed=3) != figures(turns(100), BUDGET, [300], seed=4)


def test_honest_forecasts_are_kept_in_nineteen_cases_of_twenty() -> None:
    rng = random.Random(1)
    drawn = [
        replace(
            QUICK, at_ms=500.0 * place, llm_ms=rng.lognormvariate(4.6, 0.4), clause_ms=rng.uniform(20, 80)
        )
        for place in range(400)
    ]
    cases = [Case(turn, turn, is_cached=False) for turn in drawn]
    assert kept_ratio(cases, BUDGET) == pytest.approx(0.95, abs=0.03)


def test_doing_nothing_is_full() -> None:
    assert nothing(Case(SLOW, QUICK, is_cached=True), 1).rung is Rung.FULL


def test_recordings_are_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write_trace(path, [QUICK, SLOW])
    assert read_trace(path) == [QUICK, SLOW]
    path.write_text(path.read_text() + '{"at_ms": 1}\n')
    with pytest.raises(ConfigError, match=r"t\.jsonl:3: no turn"):
        read_trace(path)
    with pytest.raises(ConfigError, match=r"nowhere: no such file"):
        read_trace(tmp_path / "nowhere")


def test_the_recording_that_comes_with_voicestack(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    bench_planner.add_arguments(parser)
    code, found = bench_planner.run(parser.parse_args(["--remaining-ms", "400"]))
    assert code == 0
    assert found is not None
    assert found["n_turns"] == len(read_trace(TRACE)) >= 100
    of = found["scores"]["400"]
    assert of["forecasts"]["regret"] < of["thresholds"]["regret"]
    assert of["forecasts"]["missed_ratio"] < of["nothing"]["missed_ratio"]
    assert "400 ms" in capsys.readouterr().out
