"""Do the WebRTC benches hear real packets? Over UDP on this machine, in real time; no figure is judged."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests.support.server import SCRIPTED, with_server
from tests.support.speech import SPEECH
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.cli import bench, talk
from voicestack.cli.bench_impair import Impairment
from voicestack.cli.bench_speech import read_line
from voicestack.cli.dialing import NoServer
from voicestack.cli.grid_link import Conditions
from voicestack.cli.grid_server import ask
from voicestack.cli.rtc_calibration import calibrate_rtc
from voicestack.cli.rtc_caller import calls_url, dial_rtc
from voicestack.cli.rtc_echo import rtc_echo_process
from voicestack.cli.rtc_grid import cell
from voicestack.cli.rtc_load import RtcHarness
from voicestack.cli.rtc_trial import LEAD_FRAMES, Record, Trial, link_settings, script
from voicestack.cli.speaker import FRAME_SAMPLES, Speaker, Timeline
from voicestack.core.audio import EAR_RATE_HZ

LINE = read_line(SPEECH / "01_slt.wav", "words")


def test_the_calibration_hears_its_echoes() -> None:
    found = asyncio.run(calibrate_rtc(SystemClock(), n_turns=2))
    assert found.n_missing == 0
    assert found.codec_ms is not None
    assert 0 < found.codec_ms.p50 < 60


def test_a_plain_echo_comes_back() -> None:
    async def call() -> Speaker:
        clock = SystemClock()
        async with rtc_echo_process(None) as (port, _):
            line = await dial_rtc(f"http://127.0.0.1:{port}")
            speaker = Speaker(Timeline(clock.now_ns()))
            line.attach(speaker, lambda: "echo")
            for _ in range(75):
                line.speak(np.full(FRAME_SAMPLES // 2, 3000, dtype=np.int16))
                line.speak(np.full(FRAME_SAMPLES // 2, -3000, dtype=np.int16))
                await asyncio.sleep(0.02)
            await line.close()
        return speaker

    assert np.abs(asyncio.run(call()).render()).max() > 500


def test_a_load_is_heard_without_decrypting_it() -> None:
    async def load() -> RtcHarness:
        async with rtc_echo_process(None) as (port, _):
            harness = RtcHarness(calls_url(f"http://127.0.0.1:{port}"), [LINE], "", SystemClock())
            async with Scope() as scope:
                scope.start(harness.pace(), name="pace")
                await harness.grow(2)
                await asyncio.sleep(1.0)
                await harness.close()
        return harness

    window = asyncio.run(load()).window
    assert len(window.send_late_ms) > 20
    assert window.agent_ms > 200
    assert window.n_lost == 0


def hold(weather: Impairment) -> tuple[Record, int]:
    said = script([LINE])

    async def call() -> Record:
        async with Scope() as scope:
            trial = Trial(SystemClock(), scope, link_settings(), seed=1)
            return await trial.run(said, lambda n, _: weather if n >= LEAD_FRAMES else Impairment())

    return asyncio.run(call()), len(said.user)


def test_all_that_is_said_over_a_good_network_is_at_the_ear() -> None:
    record, n_frames = hold(Impairment())
    assert len(record.heard) == n_frames * EAR_RATE_HZ // 50
    assert len(record.delivered) == n_frames
    assert len(record.arrivals) == len(record.due_ns) > 50
    assert record.figures.n_lost == 0


def test_nothing_is_over_no_network() -> None:
    record, _ = hold(Impairment(p_good_to_bad=1.0, p_bad_to_good=0.0))
    assert len(record.heard) == LEAD_FRAMES * EAR_RATE_HZ // 50
    assert len(record.arrivals) < len(record.due_ns)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(NoServer, match="voicestack serve"):
        asyncio.run(dial_rtc("http://127.0.0.1:9"))


# --- against a server --------------------------------------------------------------------------------------


async def in_thread(command: Any, *argv: str) -> int:
    """Run a command, which brings its own event loop."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    code: int = await asyncio.to_thread(command.run, parser.parse_args(list(argv)))
    return code


def test_one_can_talk_over_webrtc(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def speak(port: int) -> None:
        options = ["--transport", "webrtc", "--url", f"ws://127.0.0.1:{port}", "--out", str(tmp_path)]
        assert await in_thread(talk, str(SPEECH / "05_slt.wav"), *options) == 0

    with_server(speak, sets=(*SCRIPTED, 'asr.texts=["what can you do"]'))
    printed = capsys.readouterr().out
    assert "user  what can you do" in printed
    assert "on the waveform:" in printed


def test_both_transports_are_asked_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figures.json"

    async def measure(port: int) -> None:
        options = ["--url", f"ws://127.0.0.1:{port}", "--turns", "1", "--barge-in", "1", "--no-calibrate"]
        options += ["--transport", "both", "--speech", str(SPEECH), "--json", str(path)]
        assert await in_thread(bench, "v2v", *options) == 0

    with_server(measure, timeout_s=90)
    found = orjson.loads(path.read_bytes())
    assert found["added"]["n_pairs"] == 1
    for transport in ("websocket", "webrtc"):
        assert (found[transport]["n_turns"], found[transport]["n_missing"]) == (1, 0)
        assert found[transport]["n_interruptions"] == 1
    assert "WebRTC adds" in capsys.readouterr().out


def test_a_bad_network_lies_between_caller_and_server() -> None:
    seen: list[dict[str, Any]] = []

    async def through(port: int) -> None:
        lines = [LINE, LINE]
        seen.append(await ask(cell("30x20"), port, lines, Conditions(n_calls=2), 2))

    with_server(through, timeout_s=90)
    assert seen[0]["failures"] == []
    assert seen[0]["agent_concealed_share"] > 0.05  # of two calls with 30 % loss
