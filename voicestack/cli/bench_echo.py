"""How exact is the bench itself?

An echo server answers with a click, a known time after it received the last audible sample; the same harness
that measures voicestack measures it. Run as a program (`python -m voicestack.cli.bench_echo`) it is that
server: it prints the port that it listens on, and ends when its standard input does.
"""

import argparse
import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from voicestack.aio.clock import Clock, SystemClock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_speech import Line
from voicestack.cli.bench_stats import Summary, summarise
from voicestack.cli.bench_v2v import Outcome, Plan, Turn, measure
from voicestack.cli.conversation import decode_audio
from voicestack.cli.speaker import CALL_RATE_HZ, FRAME_SAMPLES, append_message
from voicestack.cli.waveform import last_audible
from voicestack.core.audio import Pcm

DELAY_MS = 300
_SILENCE_MS = 150
"""The user has finished when nothing was audible for so long; less than any delay that can be asked for."""
_CLICK_MS = 60
_LOUD = 8000


def buzz(n_samples: int) -> Pcm:
    """A square wave: every sample of it is audible, so its first and last one are known exactly."""
    wave = np.where(np.arange(n_samples) // 27 % 2 == 0, _LOUD, -_LOUD)
    return wave.astype(np.int16)


def click() -> Pcm:
    """The answer: whole frames of 20 ms."""
    return buzz(CALL_RATE_HZ * _CLICK_MS // 1000)


class Socket(Protocol):
    """The server's end of a connection: iterated, it gives what the client sends, until it hangs up."""

    async def send(self, message: str) -> None:
        """Send one message."""
        ...

    def __aiter__(self) -> AsyncIterator[str | bytes]: ...


class EchoCall:
    """One connection of the echo server.

    Args:
        socket: The connection.
        clock: Stamps arrivals.
        delay_ms: From the receipt of the last audible sample to the click.
    """

    def __init__(self, socket: Socket, clock: Clock, delay_ms: float) -> None:
        self._socket = socket
        self._clock = clock
        self._delay_ns = round(delay_ms * 1e6)
        self._heard_ns: int | None = None
        self._n_turns = 0
        self._click: str = orjson.loads(append_message(click()))["audio"]

    async def run(self) -> None:
        """Serve until the client hangs up."""
        async with Scope() as scope:
            await self._tell({"type": "session.created", "session": {"type": "realtime"}})
            scope.start(self._answer(), name="answer")
            try:
                async for message in self._socket:
                    await self._receive(message, self._clock.now_ns())
            except ConnectionClosed:
                return

    async def _receive(self, message: str | bytes, at_ns: int) -> None:
        event = orjson.loads(message)
        if event["type"] == "session.update":
            await self._tell({"type": "session.updated", "session": event["session"]})
        elif last_audible(decode_audio(event.get("audio")), CALL_RATE_HZ) is not None:
            self._heard_ns = at_ns

    async def _answer(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            heard_ns = self._heard_ns
            if heard_ns is None or self._clock.now_ns() < heard_ns + _SILENCE_MS * 1_000_000:
                continue
            self._heard_ns = None
            await self._prepare()
            await asyncio.sleep(max(0.0, (heard_ns + self._delay_ns - self._clock.now_ns()) / 1e9))
            await self._speak()

    async def _prepare(self) -> None:
        self._n_turns += 1
        turn = self._n_turns
        await self._tell({"type": "input_audio_buffer.committed", "item_id": f"user_{turn}"})
        await self._tell({"type": "response.created", "response": {"id": f"resp_{turn}"}})
        added = {"type": "response.output_item.added", "response_id": f"resp_{turn}"}
        await self._tell({**added, "item": {"id": f"agent_{turn}"}})

    async def _speak(self) -> None:
        turn = self._n_turns
        delta = {
            "type": "response.output_audio.delta",
            "response_id": f"resp_{turn}",
            "item_id": f"agent_{turn}",
        }
        await self._tell({**delta, "delta": self._click})
        await self._tell({"type": "response.done", "response": {"id": f"resp_{turn}", "status": "completed"}})

    async def _tell(self, event: dict[str, object]) -> None:
        await self._socket.send(orjson.dumps(event).decode())


@asynccontextmanager
async def echo_process(delay_ms: float) -> AsyncIterator[str]:
    """Run the echo server in a process of its own. Yields its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "voicestack.cli.bench_echo", "--delay-ms", str(delay_ms)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        yield f"ws://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@dataclass(frozen=True, slots=True)
class Calibration:
    """The harness's own error.

    `total_ms` is measured minus configured. `framing_ms` of it is how long the last sample waits for its
    20 ms frame to be full, which every real client waits too, and is known. `codec_ms` is what Opus delays
    the last sample of the question and the first of the answer, None without it. `error_ms` is the rest.
    """

    delay_ms: float
    n_missing: int
    total_ms: Summary | None
    framing_ms: Summary | None
    error_ms: Summary | None
    codec_ms: Summary | None = None


def calibration_lines(n: int, seed: int) -> list[Line]:
    """Buzzes of 300-700 ms that end at any point of a frame."""
    rng = random.Random(seed)
    lines = []
    for number in range(n):
        n_buzz = rng.randrange(CALL_RATE_HZ * 3 // 10, CALL_RATE_HZ * 7 // 10)
        lines.append(Line(f"buzz_{number}", None, buzz(n_buzz), 0, n_buzz - 1))
    return lines


def error_of(
    turns: list[Turn], lines: list[Line], delay_ms: float, *, codec: Callable[[Line], float] | None = None
) -> Calibration:
    """Compare what was measured with what the echo server did; `codec` tells a line's known coding delay."""
    ends = {line.file: line.last_speech for line in lines}
    codecs_ms = {line.file: codec(line) if codec else 0.0 for line in lines}
    totals, framings, codings = [], [], []
    for turn in turns:
        if turn.wait_ms is not None:
            unused = FRAME_SAMPLES - 1 - ends[turn.file] % FRAME_SAMPLES
            framings.append((unused + 1) * 1000 / CALL_RATE_HZ)
            codings.append(codecs_ms[turn.file])
            totals.append(turn.wait_ms - delay_ms)
    errors = [total - sum(known) for total, *known in zip(totals, framings, codings, strict=True)]
    return Calibration(
        delay_ms=delay_ms,
        n_missing=len(turns) - len(totals),
        total_ms=summarise(totals),
        framing_ms=summarise(framings),
        error_ms=summarise(errors),
        codec_ms=summarise(codings) if codec else None,
    )


async def calibrate(clock: Clock, *, n_turns: int, delay_ms: float = DELAY_MS, seed: int = 1) -> Calibration:
    """Measure the echo server with the harness of the bench."""
    lines = calibration_lines(n_turns, seed)
    outcome = Outcome()
    async with echo_process(delay_ms) as url:
        await measure(Plan(url, n_turns=n_turns, seed=seed), lines, clock, outcome=outcome)
    return error_of(outcome.turns, lines, delay_ms)


async def _serve(delay_ms: float) -> None:
    clock = SystemClock()

    async def answer(socket: ServerConnection) -> None:
        await EchoCall(socket, clock, delay_ms).run()

    async with serve(answer, "127.0.0.1", 0, compression=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description="A server that answers with a click after a known delay.")
    parser.add_argument("--delay-ms", type=float, default=DELAY_MS)
    asyncio.run(_serve(parser.parse_args().delay_ms))


if __name__ == "__main__":
    main()
