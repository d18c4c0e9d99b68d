"""What is measured on one server: first texts under load, after silence, after sleep, with speculation."""

import asyncio
import os
from collections.abc import Awaitable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from voicestack.cli.bench_gpu_load import (
    ADAPTER,
    OPEN_SHARE,
    RAW,
    Clients,
    Closed,
    Counter,
    Stopwatch,
    arrivals_s,
    ask_once,
    run_closed,
    run_open,
)
from voicestack.cli.bench_gpu_plan import MODEL, Job
from voicestack.cli.bench_gpu_prompts import Script, prefix_words_for, prime_of, request_of
from voicestack.cli.bench_gpu_run import Bench
from voicestack.cli.bench_gpu_server import BenchedVllm
from voicestack.cli.bench_gpu_table import number
from voicestack.cli.bench_gpu_trace import Figures, Trace, figures_of
from voicestack.cli.bench_proc import cpu_s
from voicestack.cli.bench_stats import read_total

PROBE_WORDS = 200
HEARTBEAT_S = 5.0
"""Between two beats: vLLM's first token gets slower after about 10 s of silence."""
N_AFTERWARDS = 3
"""Requests, one after the other, that follow a silence: the first pays, the others do not."""


class Subject:
    """One server under measurement.

    Args:
        bench: The run.
        job: What it is.
        server: It, ready.
        clients: Ways to ask it.

    Attributes:
        counter: Numbers of requests.
        script: Prompts; of the right length after `begin`.
    """

    def __init__(self, bench: Bench, job: Job, server: BenchedVllm, clients: Clients) -> None:
        self._bench = bench
        self._job = job
        self._server = server
        self._clients = clients
        self.counter = Counter()
        self.script = Script(bench.amounts.seed, PROBE_WORDS, bench.amounts.reply_tokens)

    async def begin(self) -> None:
        """The first requests of its life, which count nowhere else; then prompts of the right length."""
        firsts = [await self._ask() for _ in range(3)]
        await self._fit_prefix()
        loop = Closed(max(self._bench.amounts.levels), for_s=min(1.0, self._bench.amounts.level_s))
        warm_up = await run_closed(loop, self._clients, self.script, self.counter, self._bench.clock)
        entry = {
            "server": self._job.launch.name,
            "command": self._server.command,
            "ready_ms": self._server.ready_ms,
            "phases": self._server.phases(),
            "first_requests": firsts,
            "warm_up": figures_of([replace(trace, is_warm_up=False) for trace in warm_up]),
        }
        self._bench.record.add("servers", entry)
        if "cold" in self._job.sections:
            self._bench.record.add(
                "cold", {key: entry[key] for key in ("server", "ready_ms", "phases", "first_requests")}
            )
            ready_s = (self._server.ready_ms or 0.0) / 1e3
            self._bench.say(f"{self._job.launch.name}: ready after {ready_s:.1f} s")

    async def ttft(self) -> None:
        """Every level in a closed and in an open loop; at the first level plain httpx takes part."""
        amounts = self._bench.amounts
        levels = amounts.levels if self._job.is_main else amounts.levels[: amounts.n_other_levels]
        for n, level in enumerate(levels):
            if not self._bench.record.has_time_for(
                f"{self._job.launch.name} ttft {level}", 2.5 * amounts.level_s
            ):
                continue
            both = (ADAPTER, RAW) if n == 0 else (ADAPTER,)
            for_s = amounts.level_s * len(both)
            loop = Closed(level, for_s, both, amounts.min_turns)
            closed, busy = await self._timed(self._closed(loop))
            for name in both:
                of_client = [trace for trace in closed if trace.client == name]
                self._note("ttft", "closed", level, of_client, client_busy_ratio=busy)
            rate = figures_of(closed).requests_per_s * OPEN_SHARE
            if rate > 0:
                starts_s = arrivals_s(rate, for_s, amounts.seed + level)
                opened, busy = await self._timed(
                    run_open(starts_s, self._clients, self.script, self.counter, self._bench.clock)
                )
                self._note("ttft", "open", level, opened, rate_per_s=rate, client_busy_ratio=busy)

    async def heartbeat(self) -> None:
        """The first request after a silence, without and with a heartbeat, and when there was no silence."""
        amounts, found = self._bench.amounts, dict[str, list[list[Trace]]]()
        needed_s = amounts.silence_s * amounts.silences * 2 + 10
        if not self._bench.record.has_time_for("heartbeat", needed_s):
            return
        found["no silence"] = [[await self._ask() for _ in range(N_AFTERWARDS)] for _ in range(4)]
        for name, beat_s in (("silence", None), ("heartbeat", HEARTBEAT_S)):
            found[name] = []
            for _ in range(amounts.silences):
                await self._silence(amounts.silence_s, beat_s)
                found[name].append([await self._ask() for _ in range(N_AFTERWARDS)])
        for name, rounds in found.items():
            entry = {
                "server": self._job.launch.name,
                "before": name,
                "silence_s": 0.0 if name == "no silence" else amounts.silence_s,
                "beat_s": HEARTBEAT_S if name == "heartbeat" else None,
                "first_ms": [[trace.first_ms for trace in asked] for asked in rounds],
            }
            self._bench.record.add("heartbeat", entry)
            firsts = ", ".join(f"{asked[0].first_ms or 0:.1f}" for asked in rounds)
            self._bench.say(f"{self._job.launch.name}: first text after {name}: {firsts} ms")

    async def sleep(self) -> None:
        """Level 1: weights to the host's memory and back."""
        asleep_ms, status = await self._server.post("/sleep?level=1")
        if status != 200:
            self._bench.record.not_run(f"{self._job.launch.name} sleep", f"/sleep answers HTTP {status}")
            return
        awake_ms, status = await self._server.post("/wake_up")
        if status != 200:
            self._bench.record.failed(f"{self._job.launch.name} wake", f"/wake_up answers HTTP {status}")
            return
        after = [await self._ask() for _ in range(N_AFTERWARDS)]
        entry = {
            "server": self._job.launch.name,
            "sleep_ms": asleep_ms,
            "wake_ms": awake_ms,
            "first_ms": [trace.first_ms for trace in after],
        }
        self._bench.record.add("sleep", entry)
        self._bench.say(f"{self._job.launch.name}: asleep in {asleep_ms:.0f} ms, awake in {awake_ms:.0f} ms")

    async def speculation(self) -> None:
        """The levels in a closed loop, greedily.

        A random model never says what it has read. So that methods that look words up find something, its
        prompts hold an earlier answer; those of a model with weights do not.
        """
        amounts = self._bench.amounts
        clients = Clients(self._server.url, MODEL, clock=self._bench.clock, temperature=0.0)
        try:
            n = self.counter.take()
            trace = Trace(n, ADAPTER, 0.0, 0.0)
            ask = clients.adapter.reply
            said = await ask_once(ask, request_of(self.script, n), Stopwatch(self._bench.clock), trace)
            script = replace(self.script, said_before=said if self._job.launch.random_weights else "")
            for level in amounts.speculation_levels:
                what = f"speculation {self._job.method} {level}"
                if not self._bench.record.has_time_for(what, 1.5 * amounts.level_s):
                    continue
                before = await self._server.metrics()
                closed = await run_closed(
                    Closed(level, amounts.level_s, min_turns=amounts.min_turns),
                    clients,
                    script,
                    self.counter,
                    self._bench.clock,
                )
                drafted = drafted_between(before, await self._server.metrics())
                self._note("speculation", "closed", level, closed, method=self._job.method, **drafted)
        finally:
            await clients.close()

    async def _closed(self, loop: Closed) -> list[Trace]:
        return await run_closed(loop, self._clients, self.script, self.counter, self._bench.clock)

    async def _ask(self) -> Trace:
        """One request, by itself."""
        trace = Trace(self.counter.take(), ADAPTER, 0.0, 0.0)
        await ask_once(
            self._clients.adapter.reply,
            request_of(self.script, trace.n),
            Stopwatch(self._bench.clock),
            trace,
        )
        return trace

    async def _silence(self, for_s: float, beat_s: float | None) -> None:
        """Ask nothing, or only a beat now and then. The last beat comes a whole interval before the end."""
        if beat_s is None or beat_s >= for_s:
            await asyncio.sleep(for_s)
            return
        n_beats = int(for_s / beat_s)
        for _ in range(n_beats):
            await self._clients.adapter.prime(prime_of(self.script, self.counter.take()))
            await asyncio.sleep(for_s / n_beats)

    async def _fit_prefix(self) -> None:
        """Count how many tokens a word takes here, and make the system prompt as long as it has to be."""
        tokens = []
        for n_words in (1, PROBE_WORDS):
            script = replace(self.script, prefix_words=n_words, reply_tokens=1)
            request = request_of(script, self.counter.take())
            async with aclosing(self._clients.adapter.reply(request)) as deltas:
                used = [delta.usage.input_tokens async for delta in deltas if delta.usage is not None]
            tokens.append(used[-1] if used else n_words)
        n_words = prefix_words_for(
            self._bench.amounts.prefix_tokens,
            probe_words=PROBE_WORDS - 1,
            probe_tokens=tokens[1],
            empty_tokens=tokens[0],
        )
        self.script = replace(self.script, prefix_words=n_words)

    async def _timed(self, work: Awaitable[list[Trace]]) -> tuple[list[Trace], float]:
        """Do it. Returns what came of it, and the share of a core that this process used meanwhile."""
        cpu_before_s, before_ns = cpu_s([os.getpid()]), self._bench.clock.now_ns()
        traces = await work
        took_s = (self._bench.clock.now_ns() - before_ns) / 1e9
        return traces, (cpu_s([os.getpid()]) - cpu_before_s) / took_s

    def _note(self, section: str, loop: str, level: int, traces: list[Trace], **more: Any) -> None:
        """Put a level into the record and show it."""
        figures = figures_of(traces)
        client = traces[0].client if traces else ADAPTER
        entry = {
            "server": self._job.launch.name,
            "dtype": self._job.launch.dtype,
            "loop": loop,
            "turns": level,
            "client": client,
            **more,
            "figures": figures,
            "traces": traces,
        }
        self._bench.record.add(section, entry)
        name = f"{self._job.launch.name} {loop} {level:>2} {client}"
        self._bench.say(f"{name:<28}{_short(figures)}")


def drafted_between(before: str, after: str) -> dict[str, Any]:
    """What speculation came to between two readings of vLLM's metrics.

    `acceptance` is the share of drafted tokens that were accepted, `accepted_length` the mean number of
    tokens a step yields. Both None when nothing was drafted.
    """
    counted = {
        name: read_total(after, f"vllm:spec_decode_num_{name}_total")
        - read_total(before, f"vllm:spec_decode_num_{name}_total")
        for name in ("drafts", "draft_tokens", "accepted_tokens")
    }
    drafts, tokens, accepted = counted["drafts"], counted["draft_tokens"], counted["accepted_tokens"]
    return {
        "n_drafts": drafts,
        "acceptance": accepted / tokens if tokens else None,
        "accepted_length": 1 + accepted / drafts if drafts else None,
    }


def _short(figures: Figures) -> str:
    cells = []
    for name, summary in (("first text", figures.ttft_ms), ("clause", figures.clause_ms)):
        if summary is not None:
            cells.append(f"{name} p50 {number(summary.p50, 1)}, p99 {number(summary.p99, 1)} ms")
    bad = figures.n_missing + figures.n_broken
    return f"n {figures.n}, " + ", ".join(cells) + (f", {bad} failed" if bad else "")
