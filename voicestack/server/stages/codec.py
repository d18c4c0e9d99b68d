"""How are compressed sounds read and written? By a child process per request that runs PyAV.

Starting it takes about 0.2 s; `pcm` and `wav` do without.
"""

import asyncio
import importlib.util
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from voicestack.aio.scope import Scope
from voicestack.core.audio import Pcm
from voicestack.core.errors import PeerProtocolError, StageUnavailable, VoiceStackError

EXTRA = "voicestack[codecs]"
BLOCK_BYTES = 6_400
"""200 ms of 16 kHz samples at a time."""

_CHILD = str(Path(__file__).with_name("codec_child.py"))
_NULL, _PIPE = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE


def has_codecs() -> bool:
    """Whether compressed formats can be read and written."""
    return importlib.util.find_spec("av") is not None


async def decoded(file: BinaryIO) -> AsyncGenerator[Pcm, None]:
    """A sound file of any kind that PyAV reads, as blocks at EAR_RATE_HZ.

    Args:
        file: A real file, because some formats must be read from their end.

    Raises:
        PeerProtocolError: it is no sound file (`invalid_audio`), or PyAV is missing
            (`unsupported_media_type`).
    """
    if not has_codecs():
        message = f"This server reads WAV files only; other formats need its extra '{EXTRA}' (PyAV)."
        raise PeerProtocolError(message, code="unsupported_media_type", param="file")
    file.flush()
    os.lseek(file.fileno(), 0, os.SEEK_SET)  # the file object's own `seek` may move within its buffer only
    n_bytes = 0
    async with _child("decode", stdin=file.fileno()) as process:
        assert process.stdout is not None
        rest = b""
        while block := await process.stdout.read(BLOCK_BYTES):
            n_bytes += len(block)
            block = rest + block
            rest = block[len(block) - len(block) % 2 :]
            yield np.frombuffer(block, "<i2", len(block) // 2)
        if await process.wait() != 0 or n_bytes == 0:
            message = "The file cannot be read: it is damaged, empty, or not a sound file of a known format."
            raise PeerProtocolError(message, code="invalid_audio", param="file")


async def encoded(kind: str, sound: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """A file of that kind ("mp3", "opus", "aac", "flac"), as the sound comes: 24 kHz s16le mono.

    Raises:
        PeerProtocolError: PyAV is missing (`unsupported_value`).
        VoiceStackError: what `sound` raised.
        StageUnavailable: the encoder died.
    """
    if not has_codecs():
        message = f"This server writes 'pcm' and 'wav' only; '{kind}' needs its extra '{EXTRA}' (PyAV)."
        raise PeerProtocolError(message, code="unsupported_value", param="response_format")
    failures: list[VoiceStackError] = []
    async with _child("encode", kind, stdin=_PIPE) as process, Scope() as scope:
        scope.start(_feed(process, sound, failures), name=f"{kind}-feed")
        assert process.stdout is not None
        while part := await process.stdout.read(BLOCK_BYTES):
            if failures:  # what the encoder makes of a part is not the end of an answer
                break
            yield part
        if failures:
            raise failures[0]
        if await process.wait() != 0:
            raise StageUnavailable(f"the {kind} encoder ended with status {process.returncode}", stage="tts")


async def _feed(
    process: asyncio.subprocess.Process, sound: AsyncGenerator[bytes, None], failures: list[VoiceStackError]
) -> None:
    """Write the sound to the child, no faster than it takes it."""
    assert process.stdin is not None
    try:
        async with aclosing(sound) as parts:
            async for part in parts:
                process.stdin.write(part)
                await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass  # its exit status says why
    except VoiceStackError as error:
        failures.append(error)
    finally:
        process.stdin.close()


@asynccontextmanager
async def _child(*arguments: str, stdin: int) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    """The child for the length of the `with`; then it is ended, whatever it does."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", _CHILD, *arguments), stdin=stdin, stdout=_PIPE, stderr=_NULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        assert process.stdout is not None
        while await process.stdout.read(1 << 16):  # a pipe that is not read to its end is never closed
            pass
        await process.wait()
