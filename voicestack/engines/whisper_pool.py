"""Who understands a window? One of the Whisper processes, by its deadline, and another one if that dies."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.core.codel import Sojourn, discipline_of
from voicestack.core.errors import StageOverloaded, StageTimeout, StageUnavailable
from voicestack.core.queues import REFUSALS, QueueReading
from voicestack.engines.whisper_model import WhisperSettings
from voicestack.engines.whisper_pace import mean_cost_s
from voicestack.engines.whisper_window import LATE, Understood, Urgency, Window
from voicestack.engines.whisper_worker import packed
from voicestack.engines.worker import Worker

N_TRIES = 2
"""A window whose process died is sent once more: it is complete, and nothing was answered."""
GRACE_MS = 250
"""So much later than the process itself we give a window up, so that its own answer, LATE, can come."""


class Member:
    """One process with what is known of it."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.n_answers = 0
        self.n_open = 0
        self.open: Counter[Urgency] = Counter()

    def n_before(self, urgency: Urgency) -> int:
        """Windows that it will understand before a new one of this urgency."""
        return sum(n for one, n in self.open.items() if one <= urgency)


class WhisperPool:
    """All Whisper processes, one per device.

    Args:
        clock: For the supervision.
        settings: What each process loads.
        batch_max: Windows that it decodes in one pass at most.

    Attributes:
        workers: The processes, for metrics.
        cost_s: What a window costs now: the time of its pass divided by the windows in it, a moving mean.
    """

    def __init__(self, *, clock: Clock, settings: Sequence[WhisperSettings], batch_max: int) -> None:
        self._members = [
            Member(
                Worker(
                    "voicestack.engines.whisper_worker",
                    name=f"whisper-{n}",
                    stage="asr",
                    clock=clock,
                    arguments=packed(one, batch_max),
                )
            )
            for n, one in enumerate(settings)
        ]
        self.workers = [member.worker for member in self._members]
        self.cost_s = 0.0
        self._n = dict.fromkeys(
            ("windows", "passes", "late", "superseded", "timeouts", "retries", "killed"), 0.0
        )
        self._sojourn = Sojourn()
        self._refused = Counter[str](dict.fromkeys(REFUSALS, 0))
        self._clock = clock
        self._busy_ms = self._waited_ms = self._waited_max_ms = 0.0
        self._batch_largest = 0

    async def run(self) -> None:
        """Keep the processes running until cancelled."""
        async with Scope() as scope:
            for worker in self.workers:
                scope.start(worker.run(), name=worker.name)
            await asyncio.get_running_loop().create_future()

    def figures(self) -> Mapping[str, float]:
        """Counts since the start, and what is open now.

        `windows` understood in `passes` of the model (a sum of fractions: a pass of four counts a quarter for
        each of its windows), that took `busy_ms`; they waited `waited_ms` in all. `late` windows were dropped
        by the process, `superseded` ones taken back, `timeouts` given up; `killed` counts hung processes.
        """
        return {
            **self._n,
            "expired_total": self._n["late"],
            "busy_ms": self._busy_ms,
            "waited_ms": self._waited_ms,
            "waited_max_ms": self._waited_max_ms,
            "batch_largest": float(self._batch_largest),
            "batch_mean": self._n["windows"] / self._n["passes"] if self._n["passes"] else 0.0,
            "window_cost_ms": self.cost_s * 1000,
            "open": float(sum(member.n_open for member in self._members)),
        }

    async def understand(self, window: Window) -> Understood | None:
        """The words of a window; None for a partial one that nobody has the time for.

        Raises:
            StageOverloaded: so much waits that it would take longer than `window.within_ms`.
            StageTimeout: that took longer than `window.within_ms`.
            StageUnavailable: the process that had it died, or refused it, N_TRIES times, or there is none.
        """
        if self._turns_away(window):
            return None
        member, n_answers = self._members[0], 0
        try:
            async with asyncio.timeout((window.within_ms + GRACE_MS) / 1000):
                for n_left in reversed(range(N_TRIES)):
                    member = self._pick()
                    n_answers = member.n_answers
                    try:
                        return await self._ask(member, window)
                    except StageUnavailable:
                        if window.urgency is Urgency.PARTIAL:
                            return None  # its sound is in the next window too
                        if n_left == 0:
                            raise
                        self._n["retries"] += 1
        except TimeoutError:
            self._n["timeouts"] += 1
        if window.urgency is Urgency.PARTIAL:
            return None
        self._end_if_hung(member, n_answers)
        raise StageTimeout(f"no words within {window.within_ms} ms", stage="asr")

    def queues(self) -> list[QueueReading]:
        """See `ports.Queued`. What waits in the processes is only known when it is understood."""
        n_open, n_places = sum(one.n_open for one in self._members), len(self._members)
        n_served, busy_ms = int(self._n["windows"]), self._busy_ms
        n_busy = min(n_open, n_places)
        return [
            QueueReading(
                "asr", n_open - n_busy, None, dict(self._refused), n_places, n_busy, busy_ms, n_served
            )
        ]

    def superseded(self) -> None:
        """A window was taken back because a newer one of its utterance is wanted."""
        self._n["superseded"] += 1

    def _turns_away(self, window: Window) -> bool:
        """Whether nobody has the time for a partial window. In an overload nobody has.

        Raises:
            StageOverloaded: another one would not be understood in time.
        """
        now_ns = self._clock.now_ns()
        discipline = discipline_of(self.cost_s * 1e9, len(self._members))
        member = self._pick()
        is_overloaded = member.n_open > 0 and self._sojourn.is_overloaded(now_ns, discipline)
        if window.urgency is Urgency.PARTIAL and is_overloaded:
            self._refused["load"] += 1
            return True
        wait_s = member.n_before(window.urgency) * self.cost_s
        if window.urgency is Urgency.PARTIAL or wait_s * 1000 <= window.within_ms:
            return False
        self._refused["late"] += 1
        message = f"windows that wait take {wait_s * 1000:.0f} ms; there are {window.within_ms}"
        raise StageOverloaded(message, stage="asr")

    def _pick(self) -> Member:
        """The one that has the least to do, of those that can begin now."""
        return min(self._members, key=lambda member: (not member.worker.is_ready, member.n_open))

    async def _ask(self, member: Member, window: Window) -> Understood:
        """Raises StageUnavailable, StageTimeout."""
        if not member.worker.is_ready:
            if window.urgency is Urgency.PARTIAL:
                raise StageUnavailable(f"{member.worker.name} is down", stage="asr")
            await member.worker.ready(window.within_ms * 1_000_000)
        member.n_open += 1
        member.open[window.urgency] += 1
        answer: bytes | None = None
        try:
            with closing(member.worker.open(window.packed())) as stream:
                answer = await anext(stream)
        except StopAsyncIteration:
            raise StageUnavailable(f"{member.worker.name} gave no answer", stage="asr") from None
        finally:
            member.n_open -= 1
            member.open[window.urgency] -= 1
        member.n_answers += 1
        if answer == LATE:
            self._n["late"] += 1
            raise TimeoutError
        return self._counted(Understood.unpacked(answer))

    def _counted(self, understood: Understood) -> Understood:
        n_batch = max(1, understood.n_batch)
        cost_ms = understood.busy_ms / n_batch
        now_ns, discipline = self._clock.now_ns(), discipline_of(self.cost_s * 1e9, len(self._members))
        self._sojourn = self._sojourn.waited(round(understood.waited_ms * 1e6), now_ns, discipline)
        self.cost_s = mean_cost_s(self.cost_s, cost_ms / 1000)
        self._n["windows"] += 1
        self._n["passes"] += 1 / n_batch
        self._busy_ms += cost_ms
        self._waited_ms += understood.waited_ms
        self._waited_max_ms = max(self._waited_max_ms, understood.waited_ms)
        self._batch_largest = max(self._batch_largest, n_batch)
        return understood

    def _end_if_hung(self, member: Member, n_answers: int) -> None:
        """A process that answered nobody in all that time has hung; one that did is only slow."""
        if member.n_answers == n_answers and member.worker.is_ready:
            self._n["killed"] += 1
            member.worker.kill()
