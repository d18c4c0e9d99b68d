"""Does `bench ledger` measure what it says, on the real parts?"""

import argparse
import asyncio
import io
from pathlib import Path

import pytest
from rich.console import Console

from voicestack.aio.clock import SystemClock
from voicestack.cli import bench_ledger
from voicestack.cli.bench_ledger import N_FRAMES, N_TURNS, Cost, Part, cost_of
from voicestack.cli.ledger_turns import LookedAt, Turns, bench_metrics, written
from voicestack.core.marks import Mark
from voicestack.core.rungs import Rung
from voicestack.core.watching import Unobserved


def test_a_cost_is_what_is_left_without_the_rest() -> None:
    async def busy() -> None:
        sum(range(3_000_000))

    async def idle() -> None:
        pass

    burned = asyncio.run(cost_of(Part("", busy, idle), 3))
    nothing = asyncio.run(cost_of(Part("", busy, busy), 3))
    assert burned.us > 5
    assert abs(nothing.us) < burned.us


def test_a_share_of_a_core_is_that_of_a_hundred_sessions() -> None:
    assert Cost("", N_TURNS, 100.0, 0, 0).core_ratio == pytest.approx(0.001)  # ten turns a second
    assert Cost("", N_FRAMES, 1.0, 0, 0).core_ratio == pytest.approx(0.005)  # five thousand frames a second


def test_a_turn_of_the_bench_is_a_turn() -> None:
    async def hold() -> None:
        ring = LookedAt()
        metrics = bench_metrics([ring])
        turns = Turns(SystemClock(), metrics, paced=True)
        record = [turns.hold() for _ in range(3)][-1]
        assert record.verdict == "met"
        assert record.marks.drafted
        assert record.marks.response_ms == pytest.approx(231)
        assert [taken.rung for taken in record.taken] == [Rung.DRAFT]
        assert [span.stage for span in record.marks.spans()] == ["endpoint", "asr", "llm", "tts", "send"]
        assert Mark.CLAUSE_READY in record.marks.at_ns
        assert (
            b'voicestack_turn_verdicts_total{region="local",route="websocket",verdict="met"} 3.0'
            in (metrics.render()[0])
        )

    asyncio.run(hold())


def test_what_the_bench_writes_is_on_disk(tmp_path: Path) -> None:
    with written(tmp_path) as new_writer:
        writer = new_writer()
        writer.start()
        writer.turn_recorded(Turns(SystemClock(), Unobserved(), paced=False).hold())
        writer.close()
        assert writer.figures()["written_total"] == 1


@pytest.mark.parametrize(("limit", "code"), [("1000", 0), ("0.0001", 1)])
def test_more_than_the_limit_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], limit: str, code: int
) -> None:
    monkeypatch.setattr(bench_ledger, "N_TURNS", 50)
    monkeypatch.setattr(bench_ledger, "N_FRAMES", 500)
    parser = argparse.ArgumentParser()
    bench_ledger.add_arguments(parser)
    ended, found = bench_ledger.run(parser.parse_args(["--blocks", "1", "--limit", limit]))
    assert found is not None
    assert ended == code
    assert len(found["costs"]) == 9
    turns, traced, frames = (cost["core_ratio"] for cost in found["costs"][-3:])
    assert found["core_ratio"] == pytest.approx(turns + frames)
    assert found["core_ratio_with_traces"] == pytest.approx(traced + frames)
    assert "turns and frames" in capsys.readouterr().out


def test_the_table_names_every_part() -> None:
    printed = io.StringIO()
    costs = [Cost("the plan", N_TURNS, 12.5, 10.0, 14.0)]
    bench_ledger.show(Console(file=printed, width=120), costs, 0.01, 0.02, 0.03)
    assert "12.50" in printed.getvalue()
    assert "2.00% of a core, with traces 3.00%; the limit is 1.00%" in printed.getvalue()
