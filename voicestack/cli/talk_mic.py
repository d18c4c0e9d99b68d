"""`voicestack talk --mic`: how does a sound device become one side of a call?

The device runs in a thread of its own; its callbacks only hand bytes over. There is no echo cancellation,
so through loudspeakers the agent hears itself: headphones are needed.
"""

import argparse
import asyncio
import importlib
import sys
import threading
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import numpy as np
from rich.console import Console

from voicestack.aio.clock import SystemClock
from voicestack.aio.prefetch import Channel, Full
from voicestack.cli.client import call, session_update
from voicestack.cli.dialing import dial_of
from voicestack.cli.speaker import CALL_RATE_HZ, FRAME_SAMPLES
from voicestack.cli.talk import print_line, save_call
from voicestack.cli.waterfall import Waterfall, read_ledger
from voicestack.core.audio import Pcm

_CAPTURE_LIMIT = 500
"""Frames that may wait for the network: 10 s, after which the line is dead anyway."""
_INSTALL = "pip install 'voicestack[mic]'"


class Loudspeaker:
    """Bytes on their way to the device: filled by the event loop, emptied by the device's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queued = bytearray()

    def push(self, pcm: Pcm) -> None:
        """Play this next."""
        with self._lock:
            self._queued += pcm.astype("<i2").tobytes()

    def flush(self) -> None:
        """Fall silent."""
        with self._lock:
            self._queued.clear()

    def fill(self, block: memoryview) -> None:
        """Fill one block of the device; what is missing is silence."""
        with self._lock:
            sound = bytes(self._queued[: len(block)])
            del self._queued[: len(sound)]
        block[: len(sound)] = sound
        block[len(sound) :] = bytes(len(block) - len(sound))


class Microphone:
    """Frames on their way from the device's thread to the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.frames: Channel[Pcm] = Channel(_CAPTURE_LIMIT, name="microphone")

    def capture(self, block: bytes) -> None:
        """Take one block; called from the device's thread."""
        pcm = np.frombuffer(block, dtype="<i2").astype(np.int16)
        self._loop.call_soon_threadsafe(self._put, pcm)

    def _put(self, pcm: Pcm) -> None:
        try:
            self.frames.put(pcm)
        except Full:
            self.frames.close()


def run_mic(args: argparse.Namespace) -> int:
    """Talk until Ctrl-C. Returns 0, or 1 when this machine has no usable sound device.

    Raises:
        NoServer: the server cannot be reached, or hung up.
    """
    try:
        sound = importlib.import_module("sounddevice")
    except ImportError:
        print(f"voicestack talk --mic needs the sounddevice package: {_INSTALL}", file=sys.stderr)
        return 1
    except OSError as missing:
        print(
            f"voicestack talk --mic: {missing} (Debian: apt install libportaudio2)",
            file=sys.stderr,
        )
        return 1
    try:
        asyncio.run(converse(args, sound))
    except KeyboardInterrupt:
        return 0
    except sound.PortAudioError as broken:
        print(f"voicestack talk --mic: the sound device does not work: {broken}", file=sys.stderr)
        return 1
    return 0


async def converse(args: argparse.Namespace, sound: ModuleType | Any) -> None:
    """Hold the conversation through `sound` (the sounddevice module) until it is cancelled."""
    console = Console(quiet=args.json)
    loudspeaker, microphone = Loudspeaker(), Microphone()

    def on_input(block: Any, _n_frames: int, _time: Any, _status: Any) -> None:
        microphone.capture(bytes(block))

    def on_output(block: Any, _n_frames: int, _time: Any, _status: Any) -> None:
        loudspeaker.fill(memoryview(block).cast("B"))

    async with call(
        args.url,
        SystemClock(),
        update=session_update(silence_ms=args.silence_ms),
        on_line=lambda who, text: print_line(console, who, text),
        microphone=aiter_of(microphone.frames),
        dial=dial_of(args),
    ) as caller:
        caller.speaker.tap = loudspeaker
        with _stream(sound.RawInputStream, on_input), _stream(sound.RawOutputStream, on_output):
            console.print("[dim]Speak. Use headphones. Ctrl-C ends the call.[/]")
            try:
                await _show_ledgers(console, caller.conversation.measured)
            finally:
                files = save_call(caller, args.out)
                console.print(f"\n[dim]wrote {files[0]} and {files[1]}[/]")


def _stream(kind: Callable[..., Any], callback: Callable[..., None]) -> Any:
    return kind(
        samplerate=CALL_RATE_HZ,
        channels=1,
        dtype="int16",
        blocksize=FRAME_SAMPLES,
        latency="low",
        callback=callback,
    )


async def aiter_of(frames: Channel[Pcm]) -> AsyncIterator[Pcm]:
    """The frames of the microphone, until it is closed."""
    async for frame in frames:
        yield frame


async def _show_ledgers(console: Console, measured: list[Any]) -> None:
    n_shown = 0
    while True:
        await asyncio.sleep(0.1)
        for turn in measured[n_shown:]:
            console.print(Waterfall(read_ledger(turn.ledger)))
        n_shown = len(measured)
