"""A real vLLM on the processor, with SmolLM2-135M-Instruct."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from voicestack.aio.clock import SystemClock
from voicestack.bootstrap import vllm
from voicestack.config.vllm import VllmSection
from voicestack.engines.llama_server import wait_healthy
from voicestack.engines.vllm_server import VllmServer

START_LIMIT_S = 240
CONTEXT_TOKENS = 1024
PLACES, WAITING = 4, 2
"""Requests that are computed, and that may wait."""
KV_BYTES = 256 << 20
"""5800 tokens of 45 KiB: six requests with their prompts."""
BLOCK_TOKENS = 32
"""A prefix is found again in blocks of so many tokens."""
DRAFT_TOKENS = 4
NGRAM = {"speculation": "ngram", "speculation_tokens": DRAFT_TOKENS}


def section(**changes: Any) -> VllmSection:
    """What a small machine can bear: nothing compiled, one process less, little room for KV."""
    if reason := vllm.why_absent():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    if not vllm.has_vllm():
        pytest.fail("vLLM for the tests is not installed: run `python3 -m voicestack.bootstrap test`")
    return VllmSection.model_validate(
        {
            "model": "",
            "python": str(vllm.VLLM_PYTHON),
            "eager": True,
            "max_requests": PLACES,
            "queue_requests": WAITING,
            "batch_tokens": 1024,
            "start_limit_s": START_LIMIT_S,
            "extra": (
                *("--distributed-executor-backend", "uni"),
                *("--block-size", str(BLOCK_TOKENS)),
                *("--kv-cache-memory-bytes", str(KV_BYTES)),
                # In bfloat16 a step of several tokens is rounded differently from several steps.
                *("--dtype", "float32"),
            ),
            "environment": {
                "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
                "OMP_NUM_THREADS": "2",
                "OMP_WAIT_POLICY": "passive",
            },
        }
        | changes
    )


def server(**changes: Any) -> VllmServer:
    """A supervised one, not yet started."""
    return VllmServer(
        clock=SystemClock(), section=section(**changes), models=Path(), context_tokens=CONTEXT_TOKENS
    )


@contextmanager
def running(folder: Path, **changes: Any) -> Iterator[str]:
    """The URL of one with a voicestack's command line, started without its supervision."""
    made = server(**changes)
    socket = folder / "vllm.sock"
    words = [str(socket) if word.endswith("vllm.sock") else word for word in made.line().words]
    log = folder / "vllm.log"
    with log.open("wb") as out, subprocess.Popen(words, env=made.env, stdout=out, stderr=out) as process:
        try:
            asyncio.run(_wait(socket, process))
            yield f"unix:{socket}"
        except TimeoutError:
            sys.stderr.write(log.read_text()[-4000:])
            raise
        finally:
            process.terminate()


async def _wait(socket: Path, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(START_LIMIT_S):
        healthy = asyncio.create_task(wait_healthy(socket))  # noqa: TID251 (ends with the loop)
        while not healthy.done():
            if process.poll() is not None:
                healthy.cancel()
                raise TimeoutError("vLLM ended before it was ready")
            await asyncio.wait([healthy], timeout=0.5)
