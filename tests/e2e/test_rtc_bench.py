"""Do the WebRTC benches hear real packets? Over UDP on this machine, in real time; no figure is judged."""

import asyncio

import numpy as np
import pytest

from tests.support.speech import SPEECH
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_impair import Impairment
from voicestack.cli.bench_speech import read_line
from voicestack.cli.dialing import NoServer
from voicestack.cli.rtc_calibration import calibrate_rtc
from voicestack.cli.rtc_caller import calls_url, dial_rtc
from voicestack.cli.rtc_echo import rtc_echo_process
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
