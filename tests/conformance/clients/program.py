"""What the Python programs share: where the server is, a microphone, and how they say what they saw."""

import asyncio
import json
import sys
import traceback
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

CHUNK_MS = 20
CHUNK_BYTES = CHUNK_MS * 48
"""24 kHz, 16 bit, mono."""
SCENARIO_LIMIT_S = 30

BRIEF = "You are a friendly assistant on the telephone. Answer every question in one short sentence."
TALKATIVE = "You are a friendly assistant on the telephone. Answer every question with a long story."

URL, SPEECH = sys.argv[1], Path(sys.argv[2])
"""`http://host:port/v1`; that of a server whose language model calls tools; and a folder of recordings."""

Send = Callable[[bytes], Awaitable[None]]
Scenario = Callable[[], Awaitable[dict[str, Any]]]


class Microphone:
    """Sends sound in real time, all the time: silence when nobody says anything."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._left = b""
        self.task = asyncio.create_task(self._run())

    async def say(self, recording: str) -> None:
        """Play a recording of SPEECH into it. Returns when it has been said."""
        self._left = (SPEECH / f"{recording}.pcm").read_bytes()
        while self._left:
            await asyncio.wait([self.task], timeout=CHUNK_MS / 1000)
            if self.task.done():
                await self.task  # raises what ended it

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            chunk, self._left = self._left[:CHUNK_BYTES], self._left[CHUNK_BYTES:]
            await self._send(chunk.ljust(CHUNK_BYTES, b"\0"))
            due_s += CHUNK_MS / 1000
            await asyncio.sleep(max(0.0, due_s - loop.time()))


@asynccontextmanager
async def microphone(send: Send) -> AsyncIterator[Microphone]:
    """One that is on within the block."""
    mic = Microphone(send)
    try:
        yield mic
    finally:
        mic.task.cancel()
        await asyncio.wait([mic.task])


def sound(pcm: bytes) -> dict[str, int]:
    """How long and how loud 24 kHz audio is."""
    samples = array("h", pcm)
    return {"audio_ms": len(pcm) // 48, "peak": max(map(abs, samples), default=0)}


async def _all(scenarios: dict[str, Scenario]) -> None:
    loop = asyncio.get_running_loop()
    for name, scenario in scenarios.items():
        line: dict[str, Any] = {"scenario": name}
        began_s = loop.time()
        try:
            async with asyncio.timeout(SCENARIO_LIMIT_S):
                line["saw"] = await scenario()
        except Exception:  # noqa: BLE001 (it is told, and the next scenario has a connection of its own)
            line["failed"] = traceback.format_exc()
        line["took_s"] = round(loop.time() - began_s, 1)
        print(json.dumps(line), flush=True)


def run(**scenarios: Scenario) -> None:
    """Run each, and print one line of JSON about it."""
    asyncio.run(_all(scenarios))
