"""A stage fails under a real conversation: nobody meets silence, the ledger says why, and the call goes on.

The processes are real: a server whose stages are another voicestack (PocketSphinx, eSpeak NG) and a
llama-server (SmolLM2), each behind a relay that fails on demand. The long version: `voicestack bench faults`.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from voicestack.aio.clock import SystemClock
from voicestack.cli.bench_faults import shortest
from voicestack.cli.bench_speech import read_folder
from voicestack.cli.fault_cells import cell_of
from voicestack.cli.fault_run import CellRun, FaultPlan, FaultTurn, run_cell
from voicestack.cli.fault_servers import server_under_test, stage_proxies
from voicestack.core.turn_record import DEAD_AIR_MS

SPEECH = Path(__file__).resolve().parents[1] / "data" / "speech"
LIMIT_S = 300.0
SLOW_MACHINE_MS = 2_000
"""What a machine that does other work may add to everything."""
GIVE_UP = "budget.give_up_ms=4000"
"""Sooner than by default, so that nobody waits for ten seconds here."""
CELLS = ("llm.stuck", "llm.cut", "llm.garbage", "tts.stuck", "asr.stuck")


async def _measured(names: Sequence[str]) -> dict[str, CellRun]:
    clock, lines = SystemClock(), shortest(read_folder(SPEECH))
    plan = FaultPlan("", n_turns=1, n_before=0, max_output_tokens=8, timeout_ms=6_000)
    async with (
        asyncio.timeout(LIMIT_S),
        stage_proxies(clock) as proxies,
        server_under_test(proxies, enforce=True, sets=[GIVE_UP]) as url,
    ):
        return {name: await run_cell(cell_of(name), proxies, plan.at(url), lines, clock) for name in names}


@pytest.fixture(scope="module")
def runs() -> dict[str, CellRun]:
    """All cells on the same servers: the most time goes into starting them."""
    return asyncio.run(_measured(CELLS))


@pytest.mark.parametrize("name", CELLS)
def test_a_stage_fails_and_nobody_meets_silence(name: str, runs: dict[str, CellRun]) -> None:
    run = runs[name]
    assert not run.failure
    (failed,) = run.during()
    assert failed.heard_ms is not None, failed
    assert failed.heard_ms <= DEAD_AIR_MS + SLOW_MACHINE_MS, failed
    assert failed.ledgers, "every turn has a record"
    assert failed.is_answered or failed.is_declared, failed
    assert failed.rungs, failed


@pytest.mark.parametrize("name", CELLS)
def test_the_first_question_after_the_fault_is_answered(name: str, runs: dict[str, CellRun]) -> None:
    after: FaultTurn = runs[name].turns[-1]
    assert after.phase == "after"
    assert after.is_answered, after
