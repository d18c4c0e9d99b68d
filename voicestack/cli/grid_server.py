"""How long do callers wait for an answer who reach the server over a bad network?"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from voicestack.aio.clock import SystemClock
from voicestack.cli.bench_impair import Impairment, UdpRelay
from voicestack.cli.bench_speech import Line
from voicestack.cli.bench_stats import summarise
from voicestack.cli.bench_v2v import Outcome, Plan, measure
from voicestack.cli.dialing import Link
from voicestack.cli.grid_link import Conditions
from voicestack.cli.rtc_caller import RtcCall, dial_rtc
from voicestack.cli.rtc_ear import Playing, played_with
from voicestack.cli.rtc_grid import BUFFER_MS, Cell
from voicestack.cli.rtc_sdp import Address

ANSWER = "Yes, it is so."
"""0.7 s in the scripted voice: the bench is about waiting, not about listening."""
_SILENCE_MS = 200
_RATE_PER_S = 2.0


@dataclass(slots=True)
class Network:
    """A relay for each caller, with chances of its own. It is good until the call is established.

    Attributes:
        impairment: From then on, in both directions.
        seeds: One for each caller.
        calls: Those that were established.
    """

    impairment: Impairment
    seeds: Iterator[int]
    calls: list[RtcCall] = field(default_factory=list)

    async def dial(self, url: str) -> Link:
        """Call through a new relay, which is there until the call is closed.

        Raises:
            NoServer: the call cannot be established.
        """
        relays: list[UdpRelay] = []
        stack = AsyncExitStack()

        async def place(server: Address) -> Address:
            good = Impairment()
            relay = UdpRelay((server.host, server.port), up=good, down=good, seed=next(self.seeds))
            relays.append(await stack.enter_async_context(relay))
            return Address(*relay.address)

        try:
            call = await dial_rtc(url, place=place)
        except BaseException:
            await stack.aclose()
            raise
        for relay in relays:
            relay.up.path.impairment = relay.down.path.impairment = self.impairment
        call.after_close = stack.aclose
        self.calls.append(call)
        return call


async def ask(
    network: Cell, port: int, lines: Sequence[Line], given: Conditions, n_turns: int
) -> dict[str, Any]:
    """Ask a server on this machine over a network; it should be idle otherwise."""
    plan = Plan(
        f"http://127.0.0.1:{port}",
        n_turns=n_turns,
        n_callers=given.n_calls,
        rate_per_s=_RATE_PER_S,
        silence_ms=_SILENCE_MS,
        seed=given.seed,
    )
    between = Network(given.of(network), itertools.count(given.seed * 1000 + 1, 2))
    outcome = Outcome()
    await measure(plan, list(lines), SystemClock(), outcome=outcome, dial=between.dial)
    playing = sum((played_with(call.arrivals, BUFFER_MS) for call in between.calls), start=Playing())
    waits = [turn.wait_ms for turn in outcome.turns if turn.wait_ms is not None]
    return {
        "voice_to_voice_ms": summarise(waits, n_censored=sum(turn.missing for turn in outcome.turns)),
        "n_missing": sum(turn.missing for turn in outcome.turns),
        "n_early": sum(turn.early for turn in outcome.turns),
        "n_split": sum(turn.n_utterances > 1 for turn in outcome.turns),
        "agent_concealed_share": playing.concealed_share,
        "harness_late_ms": summarise(outcome.late_ms),
        "failures": outcome.failures,
    }
