"""`talk` and the benches in real time, against a real server with scripted engines and the echo server."""

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.server import SCRIPTED, with_server
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.cli import bench, bench_idle, talk, talk_mic
from voicestack.cli.bench_beside import is_loaded
from voicestack.cli.bench_capacity import LATENESS, Level, level_of
from voicestack.cli.bench_load import Harness, spoken_frames
from voicestack.cli.bench_pace import Window
from voicestack.cli.bench_proc import NoProcess, cpu_s, family_of, memory_of
from voicestack.cli.bench_server import http_get
from voicestack.cli.bench_speech import read_folder
from voicestack.cli.bench_stats import Buckets, read_buckets
from voicestack.cli.client import session_update
from voicestack.cli.waveform import decode_wav, first_audible

SPEECH = Path(__file__).parents[1] / "data" / "speech"
QUESTION = SPEECH / "05_slt.wav"
WORDS = "what can you do for me today"
ONE_TEXT = (*SCRIPTED, f'asr.texts=["{WORDS}"]')


def parsed(command: Any, *argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(list(argv))


def in_thread(command: Any, args: argparse.Namespace) -> Any:
    """Commands bring their own event loop."""
    return asyncio.to_thread(command.run, args)


def test_talk_prints_both_sides_and_writes_the_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def script(port: int) -> None:
        args = parsed(talk, str(QUESTION), "--url", f"ws://127.0.0.1:{port}", "--out", str(tmp_path))
        assert await in_thread(talk, args) == 0

    with_server(script, sets=ONE_TEXT)
    printed = capsys.readouterr().out
    assert f"user  {WORDS}" in printed
    assert "agent  " in printed
    assert "on the waveform:" in printed
    assert "endpoint" in printed
    answer = decode_wav((tmp_path / "answer.wav").read_bytes())
    assert answer.duration_ms > 2000
    assert (first_audible(answer.pcm, answer.rate_hz) or 0) < answer.rate_hz // 10
    both = (tmp_path / "call.wav").read_bytes()
    assert both[22:24] == b"\x02\x00"  # channels
    assert decode_wav(both).duration_ms > 3000


def test_talk_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def script(port: int) -> None:
        args = parsed(talk, str(QUESTION), "--json", "--url", f"127.0.0.1:{port}", "--out", str(tmp_path))
        assert await in_thread(talk, args) == 0

    with_server(script, sets=ONE_TEXT)
    found = orjson.loads(capsys.readouterr().out)
    turn = found["turns"][0]
    assert turn["heard"] == WORDS
    assert turn["voice_to_voice_ms"] > 200
    assert turn["ledgers"][0]["spans"][0]["stage"] == "endpoint"
    assert found["errors"] == []


class FakeSoundDevice:
    """The part of the sounddevice package that is used, with the question as its microphone."""

    class PortAudioError(Exception):
        pass

    def __init__(self, recording: bytes) -> None:
        self.played = bytearray()
        self._recording = recording
        self.RawInputStream = self._input
        self.RawOutputStream = self._output

    def _input(self, **options: Any) -> "FakeStream":
        assert (options["samplerate"], options["channels"], options["dtype"]) == (24_000, 1, "int16")
        n_bytes, sent = options["blocksize"] * 2, 0

        def capture() -> None:
            nonlocal sent
            block = self._recording[sent : sent + n_bytes]
            sent += n_bytes
            options["callback"](block + bytes(n_bytes - len(block)), n_bytes // 2, None, None)

        return FakeStream(capture)

    def _output(self, **options: Any) -> "FakeStream":
        def play() -> None:
            block = bytearray(options["blocksize"] * 2)
            options["callback"](block, options["blocksize"], None, None)
            self.played += block

        return FakeStream(play)


class FakeStream:
    """Calls back every 20 ms while it is open, from the event loop instead of a thread."""

    def __init__(self, callback: Any) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._open = False

    def __enter__(self) -> "FakeStream":
        self._open, self._due_s = True, self._loop.time()
        self._tick()
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False

    def _tick(self) -> None:
        if self._open:
            self._callback()
            self._due_s += 0.02
            self._loop.call_at(self._due_s, self._tick)


def test_talk_with_a_microphone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = FakeSoundDevice(read_folder(SPEECH)[0].pcm.tobytes())

    async def script(port: int) -> None:
        args = parsed(talk, "--mic", "--url", f"ws://127.0.0.1:{port}", "--out", str(tmp_path))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(6):
                await talk_mic.converse(args, sound)

    with_server(script, sets=ONE_TEXT)
    printed = capsys.readouterr().out
    assert f"user  {WORDS}" in printed
    assert "answered after" in printed
    assert len(sound.played.strip(b"\0")) > 24_000
    assert decode_wav((tmp_path / "call.wav").read_bytes()).duration_ms > 3000


def test_the_harness_knows_its_own_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    args = parsed(
        bench, "v2v", "--calibrate", "--turns", "3", "--speech", str(SPEECH), "--json", str(figures)
    )
    assert bench.run(args) == 0
    error_ms = orjson.loads(figures.read_bytes())["calibration"]["error_ms"]
    assert error_ms["n"] == 3
    assert -0.1 < error_ms["p50"] < 100  # a busy machine is late, never early
    assert "3 echoes after 300 ms" in capsys.readouterr().out


def test_the_v2v_bench_measures_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figures.json"

    async def script(port: int) -> None:
        options = ["--url", f"ws://127.0.0.1:{port}", "--turns", "2", "--barge-in", "1", "--no-calibrate"]
        args = parsed(bench, "v2v", *options, "--speech", str(SPEECH), "--json", str(path))
        assert await in_thread(bench, args) == 0

    with_server(script, timeout_s=60)
    found = orjson.loads(path.read_bytes())
    assert (found["n_turns"], found["n_missing"]) == (2, 0)
    assert found["voice_to_voice_ms"]["n"] == 2 - found["n_early"]
    assert found["server"]["n_ledgers"] >= 2
    assert found["n_interruptions"] == 1
    assert found["harness_late_ms"]["n"] > 200
    assert len(found["turns"]) == 2
    assert "voice to voice, on the waveform" in capsys.readouterr().out


def test_the_bench_of_calls_beside_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figures.json"

    async def script(port: int) -> None:
        options = ["--url", f"ws://127.0.0.1:{port}", "--blocks", "2", "--turns", "1", "--json", str(path)]
        options += ["--transcribers", "0", "--speakers", "1"]
        assert await in_thread(bench, parsed(bench, "beside", *options, "--speech", str(SPEECH))) == 0

    with_server(script, timeout_s=60)
    found = orjson.loads(path.read_bytes())
    assert found["load"]["n_spoken"] > 0
    assert found["load"]["n_failed"] == 0
    assert (found["alone"]["n"], found["beside"]["n"]) == (1, 1)
    assert "meanwhile" in capsys.readouterr().out
    assert [is_loaded(block) for block in range(6)] == [False, True, True, False, False, True]


def test_the_wer_bench_hears_what_the_server_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording, path = tmp_path / "q.wav", tmp_path / "figures.json"
    recording.write_bytes(QUESTION.read_bytes())
    recording.with_suffix(".txt").write_text("What can you do for them today?")

    async def script(port: int) -> None:
        options = [str(recording), "--only-files", "--url", f"ws://127.0.0.1:{port}", "--json", str(path)]
        assert await in_thread(bench, parsed(bench, "wer", *options)) == 0

    with_server(script, sets=ONE_TEXT)
    found = orjson.loads(path.read_bytes())
    assert (found["n_word_errors"], found["n_words"]) == (1, 7)
    assert found["recordings"][0]["heard"] == WORDS
    assert "14.3%" in capsys.readouterr().out


def test_the_load_harness_holds_conversations() -> None:
    windows: list[Window] = []

    async def script(port: int) -> None:
        lines = [spoken_frames(line) for line in read_folder(SPEECH)[:3]]
        update = orjson.dumps(session_update(silence_ms=200)).decode()
        harness = Harness(port, lines, update, SystemClock())
        async with Scope() as scope:
            scope.start(harness.pace(), name="pace")
            await harness.grow(3)
            await asyncio.sleep(9)
            windows.append(harness.window)
            harness.close()
        status, page = await http_get(port, "/metrics")
        assert status == 200
        assert read_buckets(page, LATENESS).n > 100

    with_server(script, sets=ONE_TEXT)
    window = windows[0]
    assert window.n_answers >= 3
    assert window.n_lost == 0
    assert window.agent_ms > 3000
    assert len(window.send_late_ms) > 1000
    assert len(window.arrival_late_ms) > 50


def level(late: Buckets, window: Window) -> Level:
    return level_of(2, 10.0, late, window, (0.5, 0.1, 0.0))


def test_a_level_passes_when_the_pace_is_kept_and_nobody_waits() -> None:
    inf = float("inf")
    good = Buckets({0.01: 995.0, 0.02: 1000.0, inf: 1000.0})
    bad = Buckets({0.01: 980.0, 0.02: 1000.0, inf: 1000.0})
    assert level(good, Window(agent_ms=15_000)).passes
    assert level(good, Window(agent_ms=15_000)).agent_share == 0.75
    assert not level(bad, Window()).passes
    assert not level(good, Window(n_missing=1)).passes
    assert not level(good, Window(n_lost=1)).passes
    assert not level(Buckets({}), Window()).passes


def test_processes_are_counted_with_their_children(capsys: pytest.CaptureFixture[str]) -> None:
    async def with_child() -> None:
        child = await asyncio.create_subprocess_exec("sleep", "60")
        try:
            assert family_of(os.getpid())[0] == os.getpid()
            assert child.pid in family_of(os.getpid())
            memory = memory_of(child.pid)
            assert memory is not None
            assert memory.name == "sleep 60"
            assert memory.resident_bytes > 0
        finally:
            child.kill()
            await child.wait()
        assert memory_of(child.pid) is None
        assert cpu_s([child.pid]) == 0.0

    asyncio.run(with_child())
    assert cpu_s([os.getpid()]) > 0
    with pytest.raises(NoProcess):
        family_of(2**22 + 1)
    code, found = bench_idle.run(parsed(bench_idle, "--pid", str(os.getpid()), "--seconds", "0.1"))
    assert code == 0
    assert found is not None
    assert found["resident_bytes"] > 10_000_000
    assert "resident MiB" in capsys.readouterr().out
