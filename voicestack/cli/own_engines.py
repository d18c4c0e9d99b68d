"""How does a bench run engines in its own process, without a server around them?"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.config.schema import Config
from voicestack.core.errors import Stage, StageUnavailable
from voicestack.ports import Asr, Llm, Tts
from voicestack.server.assembly import Connected
from voicestack.server.assembly_asr import asr_of
from voicestack.server.assembly_llm import llm_of
from voicestack.server.assembly_tts import tts_of
from voicestack.server.supervised import Supervised

START_LIMIT_S = 60.0
_POLL_S = 0.1
_NAMES: dict[Stage, str] = {"asr": "speech recogniser", "llm": "language model", "tts": "voice"}

Engine = TypeVar("Engine")


@asynccontextmanager
async def running(
    engine: Engine, supervised: Sequence[Supervised], stage: Stage, *, limit_s: float = START_LIMIT_S
) -> AsyncIterator[Engine]:
    """An engine whose processes run until the block ends.

    Raises:
        StageUnavailable: it was not ready in time.
    """
    async with AsyncExitStack() as ends:
        scope = await ends.enter_async_context(Scope())
        for one in supervised:
            scope.start(one.run(), name=one.name)
        try:
            async with asyncio.timeout(limit_s):
                for one in supervised:
                    while not one.is_ready:  # noqa: ASYNC110 (processes tell nobody; the server polls too)
                        await asyncio.sleep(_POLL_S)
        except TimeoutError:
            message = f"the {_NAMES.get(stage, stage)} was not ready after {limit_s:.0f} s"
            raise StageUnavailable(message, stage=stage) from None
        if isinstance(engine, Connected):
            ends.push_async_callback(engine.close)
        yield engine


@asynccontextmanager
async def own_asr(config: Config, clock: Clock, *, limit_s: float = START_LIMIT_S) -> AsyncIterator[Asr]:
    """The configured speech recogniser. Raises ConfigError and StageUnavailable."""
    engine, supervised = asr_of(config, clock)
    async with running(engine, supervised, "asr", limit_s=limit_s) as asr:
        yield asr


@asynccontextmanager
async def own_llm(config: Config, clock: Clock, *, limit_s: float | None = None) -> AsyncIterator[Llm]:
    """The configured language model. Raises ConfigError and StageUnavailable."""
    engine, supervised = llm_of(config, clock)
    if limit_s is None:
        limit_s = config.vllm.start_limit_s if config.llm.engine == "vllm" else START_LIMIT_S
    async with running(engine, supervised, "llm", limit_s=limit_s) as llm:
        yield llm


@asynccontextmanager
async def own_tts(config: Config, clock: Clock, *, limit_s: float = START_LIMIT_S) -> AsyncIterator[Tts]:
    """The configured voice. Raises ConfigError and StageUnavailable."""
    engine, supervised = tts_of(config, clock)
    async with running(engine, supervised, "tts", limit_s=limit_s) as tts:
        yield tts
