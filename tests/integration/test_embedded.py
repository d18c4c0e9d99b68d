"""A real question to the real embedded stack, and real speech back: nothing here is scripted."""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from tests.support.realtime_check import check_server_event
from tests.support.server import with_server
from voicestack.aio.scope import Scope
from voicestack.core.audio import Pcm
from voicestack.core.resample import Resampler
from voicestack.server.readiness import question

SETTINGS = ("turn.silence_duration_ms=200", "llm.first_token_ms=20000", "budget.readiness_turn_ms=20000")
"""The machine of a test may be slow; nothing here is about speed."""
CHUNK = 960


class Caller:
    """A person at a Realtime client: speaks, and keeps everything that comes back."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.events: list[dict[str, Any]] = []

    async def speak(self, pcm: Pcm, then_silence_ms: int = 0) -> None:
        """int16 at 16 kHz, in real time, in 20 ms pieces."""
        data = Resampler(16_000, 24_000).push(pcm).tobytes() + bytes(then_silence_ms * 48)
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        for n, i in enumerate(range(0, len(data), CHUNK)):
            await asyncio.sleep(max(0.0, start_s + (n + 1) * 0.02 - loop.time()))
            audio = base64.b64encode(data[i : i + CHUNK]).decode()
            await self.ws.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))

    async def until(self, kind: str) -> dict[str, Any]:
        """Read on to the next event of that type."""
        while True:
            event: dict[str, Any] = json.loads(await self.ws.recv())
            if not event["type"].startswith("voicestack."):
                check_server_event(event)
            self.events.append(event)
            assert event["type"] != "error", event
            if event["type"] == kind:
                return event

    def heard(self) -> Pcm:
        """All agent audio so far: int16 at 24 kHz."""
        deltas = [e["delta"] for e in self.events if e["type"] == "response.output_audio.delta"]
        return np.frombuffer(b"".join(map(base64.b64decode, deltas)), dtype="<i2")


def children(pid: int) -> dict[int, str]:
    """Living descendants of a process, and their command lines."""
    out: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            command = (entry / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(stat[1]) == pid and stat[0] != "Z":
            out[int(entry.name)] = command
            out |= children(int(entry.name))
    return out


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_spoken_conversation_and_an_llm_that_is_killed_in_mid_sentence() -> None:
    async def script(port: int) -> None:
        url = f"ws://127.0.0.1:{port}/v1/realtime?voicestack_events=1"
        async with connect(url, max_size=None) as ws, httpx.AsyncClient() as http:
            caller = Caller(ws)
            await caller.until("session.created")
            await one_question(caller)
            await kill_the_llm(caller)
            await one_question(caller)
            for _ in range(200):
                ready = (await http.get(f"http://127.0.0.1:{port}/readyz")).json()
                if ready["ready"]:
                    break
                await asyncio.sleep(0.1)
            assert ready["ready"], ready
            metrics = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
            assert 'voicestack_stage_seconds_count{stage="llm"} 0' not in metrics

    with_server(script, profile="embedded", sets=SETTINGS, timeout_s=180)


async def one_question(caller: Caller) -> None:
    """Ask for the capital of France; be understood; be answered in speech; see where the time went."""
    caller.events.clear()
    async with Scope() as scope:
        scope.start(caller.speak(question(), then_silence_ms=20_000), name="speaking")
        done = await caller.until("response.done")
        measured = await caller.until("voicestack.turn.measured")
    said = [e["transcript"] for e in caller.events if e["type"].endswith("transcription.completed")]
    assert "capital of france" in said[0].lower()
    assert done["response"]["status"] == "completed", done
    answer = done["response"]["output"][0]["content"][0]["transcript"]
    assert len(answer.split()) >= 1
    heard = caller.heard()
    assert len(heard) >= 24_000 * 0.15 * len(answer.split()) * 0.5, "as long as the words take to say"
    assert np.abs(heard).max() > 1500
    marks = measured["marks_ms"]
    assert {"speech_end", "endpoint", "asr_final", "llm_sent", "llm_first_token"} <= marks.keys()
    assert {"tts_first_audio", "first_sent", "flushed"} <= marks.keys()
    assert 200 <= marks["first_sent"] - marks["speech_end"] < 5000


async def kill_the_llm(caller: Caller) -> None:
    """kill -9 while it speaks: an honest sentence or a whole answer, in any case an end."""
    caller.events.clear()
    text = "Tell me a very long story about a river."
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await caller.ws.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await caller.ws.send(json.dumps({"type": "response.create"}))
    await caller.until("response.output_audio.delta")
    (llm,) = [pid for pid, command in children(os.getpid()).items() if "llama-server" in command.split()[0]]
    os.kill(llm, signal.SIGKILL)
    done = await caller.until("response.done")
    assert done["response"]["status"] in ("completed", "failed")
    spoken = done["response"]["output"][0]["content"][0]["transcript"]
    assert spoken
    if done["response"]["status"] == "failed":
        assert spoken.endswith("Could you say that again?")


def test_no_child_survives_a_kill_9_of_the_server() -> None:
    command = [sys.executable, "-m", "voicestack", "serve", "--config", "embedded", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    try:
        for line in server.stdout:
            if "is ready on" in line:
                break
        found = children(server.pid)
        commands = " ".join(found.values())
        assert "llama-server" in commands
        assert "pocketsphinx" in commands
        assert "espeak" in commands
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    deadline = time.monotonic() + 5
    while any(map(alive, found)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [found[pid] for pid in found if alive(pid)]


def test_ctrl_c_stops_in_order_and_leaves_nothing() -> None:
    command = [sys.executable, "-m", "voicestack", "serve", "--config", "embedded", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert server.stderr is not None
    for line in server.stdout:
        if "is ready on" in line:
            break
    found = children(server.pid)
    server.send_signal(signal.SIGINT)
    _, errors = server.communicate(timeout=20)
    assert server.returncode == 0, errors
    assert "Traceback" not in errors
    assert not [found[pid] for pid in found if alive(pid)]
