"""How are many turns asked of one server, and each of them stamped?

Closed loop: so many users, each of whom asks again as soon as the answer is complete. Open loop: users who do
not know of each other, at times that were drawn beforehand, whether or not the server keeps up. Both ask
voicestack's own adapter or, to see what that costs, plain httpx.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_gpu_prompts import Script, request_of
from voicestack.cli.bench_gpu_trace import FULL, Trace
from voicestack.cli.bench_stats import poisson_starts_s
from voicestack.core.errors import StageError, StageOverloaded, StageUnavailable
from voicestack.core.phrases import Phrases
from voicestack.engines.chat_body import LlmSettings, body_of, plain_plan
from voicestack.engines.openai_llm import OpenAiLlm
from voicestack.engines.sse import refusal, usage_of
from voicestack.ports import LlmDelta, LlmRequest

Ask = Callable[[LlmRequest], AsyncGenerator[LlmDelta, None]]

ANSWER_LIMIT_MS = 20_000
"""Who has no first text, or no next one, after so long has none."""
OPEN_SHARE = 0.8
"""The arrivals of the open loop are this share of what the closed loop got through: at all of it, a queue
grows without end by chance alone."""
REFUSED_PAUSE_S = 0.05
"""A user who was refused tries again, but not a thousand times a second."""
ADAPTER, RAW = "adapter", "raw"


def settings_of(temperature: float) -> LlmSettings:
    """As the bench asks: the length is the request's, and no waiting is cut short."""
    return LlmSettings(
        temperature=temperature,
        top_p=1.0,
        max_tokens=4096,
        first_token_ms=ANSWER_LIMIT_MS,
        token_gap_ms=ANSWER_LIMIT_MS,
        dialect="vllm",
    )


class Clients:
    """The two ways of asking one server.

    Args:
        url: Its base URL.
        model: The name by which it knows its model.
        clock: Of the adapter.
        temperature: 0 is greedy.
    """

    def __init__(self, url: str, model: str, *, clock: Clock, temperature: float = 1.0) -> None:
        self._settings = settings_of(temperature)
        self._model = model
        self.adapter = OpenAiLlm(url, model, clock=clock, settings=self._settings)
        self._raw = httpx.AsyncClient(
            base_url=httpx.URL(url).join("/v1"),
            timeout=httpx.Timeout(ANSWER_LIMIT_MS / 1e3),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=256),
            trust_env=False,
        )

    def ask(self, name: str) -> Ask:
        """`adapter` or `raw`."""
        return self.adapter.reply if name == ADAPTER else self.raw

    async def raw(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        """The same request with as little of ours as possible.

        Raises:
            StageError: as the adapter.
        """
        body = body_of(plain_plan(request), request, self._settings, model=self._model, slot=0)
        try:
            async with self._raw.stream("POST", "/chat/completions", json=body) as response:
                if not response.is_success:
                    raise refusal(response.status_code, await response.aread())
                async for line in response.aiter_lines():
                    if not line.startswith("data:") or line.endswith("[DONE]"):
                        continue
                    event: dict[str, Any] = orjson.loads(line[5:])
                    for choice in event.get("choices", ()):
                        if text := (choice.get("delta") or {}).get("content"):
                            yield LlmDelta(text)
                    if usage := usage_of(event):
                        yield LlmDelta(usage=usage)
        except httpx.TransportError as error:
            raise StageUnavailable(str(error) or type(error).__name__, stage="llm") from error

    async def close(self) -> None:
        """Close all connections."""
        await self.adapter.close()
        await self._raw.aclose()


@dataclass(slots=True)
class Stopwatch:
    """Milliseconds since a measurement began."""

    clock: Clock
    start_ns: int = field(init=False)

    def __post_init__(self) -> None:
        self.start_ns = self.clock.now_ns()

    def ms(self) -> float:
        """Now."""
        return (self.clock.now_ns() - self.start_ns) / 1e6


async def ask_once(ask: Ask, request: LlmRequest, watch: Stopwatch, trace: Trace) -> str:
    """Ask, and stamp every piece of the answer into `trace`. Returns the answer."""
    phrases, said, last_ms = Phrases(), "", 0.0
    trace.sent_ms = watch.ms()
    try:
        async with aclosing(ask(request)) as deltas:
            async for delta in deltas:
                now_ms = watch.ms() - trace.sent_ms
                if delta.usage is not None:
                    trace.input_tokens = delta.usage.input_tokens
                    trace.cached_tokens = delta.usage.cached_tokens
                    trace.output_tokens = delta.usage.output_tokens
                if not delta.text:
                    continue
                if trace.first_ms is None:
                    trace.first_ms = now_ms
                else:
                    trace.gaps_ms.append(round(now_ms - last_ms, 3))
                last_ms = now_ms
                said += delta.text
                if phrases.push(delta.text) and trace.clause_ms is None:
                    trace.clause_ms = now_ms
    except StageError as failed:
        trace.error = FULL if isinstance(failed, StageOverloaded) else failed.code
    trace.done_ms = watch.ms() - trace.sent_ms
    if trace.clause_ms is None and trace.error is None and phrases.end():
        trace.clause_ms = trace.done_ms
    if trace.first_ms is None and trace.error is None:
        trace.error = "empty"
    return said


@dataclass(slots=True)
class Counter:
    """Numbers of requests: none is asked twice of one server."""

    next: int = 0

    def take(self) -> int:
        """The next one."""
        self.next += 1
        return self.next - 1


@dataclass(frozen=True, slots=True)
class Closed:
    """So many users for so long; `clients` in turn. `min_turns` are asked in any case, by all together."""

    n_users: int
    for_s: float
    clients: tuple[str, ...] = (ADAPTER,)
    min_turns: int = 0


async def run_closed(
    loop: Closed, clients: Clients, script: Script, counter: Counter, clock: Clock
) -> list[Trace]:
    """Ask in a closed loop. Each user's first request is there to spread them and does not count."""
    watch, traces = Stopwatch(clock), list[Trace]()

    async def user(n_user: int) -> None:
        await asyncio.sleep(n_user * 0.02)
        mine = 0
        while mine == 0 or watch.ms() < loop.for_s * 1e3 or len(traces) < loop.min_turns + loop.n_users:
            n, due_ms = counter.take(), watch.ms()
            name = loop.clients[(n_user + mine) % len(loop.clients)]
            trace = Trace(n, name, due_ms, due_ms, is_warm_up=mine == 0)
            traces.append(trace)
            await ask_once(clients.ask(name), request_of(script, n), watch, trace)
            if trace.error is not None:
                await asyncio.sleep(REFUSED_PAUSE_S)
            mine += 1

    async with Scope() as scope:
        await asyncio.wait([scope.start(user(n), name=f"user {n}") for n in range(loop.n_users)])
    return traces


def arrivals_s(rate_per_s: float, for_s: float, seed: int) -> list[float]:
    """When the users of an open loop come: drawn before the first of them does."""
    n = max(1, round(rate_per_s * for_s))
    return poisson_starts_s(n, rate_per_s, random.Random(seed))


async def run_open(
    starts_s: Sequence[float], clients: Clients, script: Script, counter: Counter, clock: Clock
) -> list[Trace]:
    """Ask at these times, whatever has become of the requests before."""
    watch = Stopwatch(clock)
    traces = [Trace(counter.take(), ADAPTER, at_s * 1e3, at_s * 1e3) for at_s in starts_s]
    requests = [request_of(script, trace.n) for trace in traces]  # not while others are being timed

    async def arrive(trace: Trace, request: LlmRequest) -> None:
        await ask_once(clients.adapter.reply, request, watch, trace)

    async with Scope() as scope:
        running = []
        for trace, request in zip(traces, requests, strict=True):
            await asyncio.sleep(max(0.0, trace.due_ms - watch.ms()) / 1e3)
            running.append(scope.start(arrive(trace, request), name=f"turn {trace.n}"))
        await asyncio.wait(running)
    return traces
