"""Does the bench of final words measure what it says?"""

import argparse
from pathlib import Path

from rich.console import Console

from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.cli import bench_asr_final
from voicestack.cli.bench_asr_final import Heard, figures_of, show
from voicestack.cli.bench_speech import read_folder
from voicestack.config.load import load

SPEECH = Path("tests/data/speech")


def test_the_time_runs_from_the_end_of_the_silence() -> None:
    lines = read_folder(SPEECH)[:3]
    config = load("scripted", env={}, sets=[]).config
    heard, figures = run_virtual(bench_asr_final._measure(config, lines, 2, LoopClock()))
    assert figures == {}
    assert [one.with_pause for one in heard] == [True] * 3 + [False] * 3
    assert {one.file for one in heard[:3]} == {line.file for line in lines}
    for one in heard:
        assert one.final_ms == 0.0  # the scripted recogniser needs no time, and virtual time has no noise
        assert one.settled_ms == (0.0 if one.with_pause else None)
        assert one.n_words > 0


def test_what_is_missing_is_not_left_out() -> None:
    heard = [
        Heard("a", True, 10.0, 5.0, 1, 4),
        Heard("b", True, None, None, 0, 0, "stage_timeout: no words"),
    ]
    found = figures_of(heard)
    assert found["n_missing"] == 1
    assert found["final_ms"].p50 == 10.0
    assert found["final_ms"].max == float("inf")
    assert found["word_error_rate"] == 0.25
    console = Console(record=True, width=100)
    table = {"engine": "any", "silence_ms": 500, "soft_end_ms": 64}
    show(console, {**table, "with_settled": found, "without": figures_of([])})
    shown = console.export_text()
    assert "inf" in shown
    assert "settled words after the pause: p50 5 ms" in shown


def test_it_needs_no_server() -> None:
    parser = argparse.ArgumentParser()
    bench_asr_final.add_arguments(parser)
    args = parser.parse_args(["--config", "embedded", "--recordings", "1", "--speakers", "3"])
    assert (args.config, args.recordings, args.speakers) == ("embedded", 1, 3)
