"""How much is asked, and what does every step of `voicestack bench gpu` need?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from voicestack.aio.clock import Clock
from voicestack.cli.bench_gpu_plan import Job
from voicestack.cli.bench_gpu_record import Record
from voicestack.cli.bench_gpu_server import BenchedVllm

START_GUESS_S = {"cuda": 75.0, "cpu": 100.0}
"""A server is started only when so much time is left."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is asked.

    Attributes:
        levels: Concurrent turns, the most important first.
        n_other_levels: So many of them for every kind of weights but the first.
        speculation_levels: The same where methods of speculation are compared.
        level_s: Seconds for each loop of each level.
        min_turns: Of a closed loop, however long they take.
        prefix_tokens: Length of the system prompt.
        reply_tokens: Length of an answer.
        silence_s: After which a request is measured.
        silences: How often, without and with a heartbeat.
        at_once: Servers that start at the same time.
        seed: Of all that is random.
    """

    levels: tuple[int, ...] = (16, 1, 64, 4, 32)
    n_other_levels: int = 3
    speculation_levels: tuple[int, ...] = (1, 16)
    level_s: float = 6.0
    min_turns: int = 24
    prefix_tokens: int = 1000
    reply_tokens: int = 64
    silence_s: float = 30.0
    silences: int = 1
    at_once: int = 5
    seed: int = 1


@dataclass(slots=True)
class Bench:
    """What every step needs."""

    amounts: Amounts
    vllm: Sequence[str]
    work: Path
    clock: Clock
    record: Record
    console: Console

    def server(self, job: Job) -> BenchedVllm:
        """Not started yet."""
        log = self.work / f"vllm-{job.launch.name.replace(' ', '-')}.log"
        return BenchedVllm(job.launch, self.vllm, log, self.work / "cache", self.clock)

    def say(self, line: str) -> None:
        """Show how far it is."""
        self.console.print(line, highlight=False, soft_wrap=True)

    def failed(self, what: str, why: str, tail: list[str] | None = None) -> None:
        """Note that something did not work, and show it."""
        self.record.failed(what, why, tail)
        self.console.print(f"{what}: {why}", style="red", markup=False, highlight=False, soft_wrap=True)
