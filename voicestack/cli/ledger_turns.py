"""What does the server do for a turn's budget and its ledger? The same calls, in their order, without audio.

For `voicestack bench ledger`: the objects are those of the server; only what makes the answer is left out.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sqlalchemy import URL

from voicestack.aio.clock import Clock, unix_ms
from voicestack.core.budget import Budget
from voicestack.core.history import Message
from voicestack.core.ids import ItemId, SessionId, TurnId, UtteranceId
from voicestack.core.marks import Mark, TurnMarks
from voicestack.core.notes import Usage
from voicestack.core.turn_record import Origin, TurnRecord, Use
from voicestack.core.watching import Observer
from voicestack.fleet.forecasts import SketchForecaster
from voicestack.fleet.ways import OneWay
from voicestack.ports import Forecaster, LlmRequest, SpeechRequest
from voicestack.session.ledger import Ending, Ledger, Whose
from voicestack.session.mouth import LiveReply
from voicestack.session.pace import Pace
from voicestack.telemetry.listener import TurnListener
from voicestack.telemetry.metrics import Metrics
from voicestack.telemetry.ring import Ring
from voicestack.telemetry.store.database import Database
from voicestack.telemetry.store.writer import Writer
from voicestack.turn.events import SpeechEnded, SpeechPaused, WordsHeard

STAGES_MS = {"asr": 50.0, "llm": 100.0, "tts": 75.0}
MS = 1_000_000
"""Nanoseconds."""
RING_TURNS = 10_000
LOOK_EVERY_TURNS = 100
"""Somebody looks at a live dashboard: the ring takes in what has come."""


class _NeverLate:
    """Satisfies `pace.Paced`."""

    def on_late(self, live: LiveReply, reason: str) -> bool:
        """Nothing can be said."""
        return False

    def on_given_up(self, live: LiveReply) -> None:
        """Nobody is told."""


class Turns:
    """The turns of one session: a draft that is right, whose answer the clock watches from its commit on.

    Args:
        clock: The time.
        observer: Is told of the turns.
        paced: Plan, forecast and watch; otherwise only write the ledger.
    """

    def __init__(self, clock: Clock, observer: Observer, *, paced: bool) -> None:
        self._clock, self._observer = clock, observer
        budget = Budget(shares_ms=STAGES_MS)
        whose = Whose("sess_bench", Origin(profile="bench"), budget, unix_ms(), clock.now_ns())
        self._ledger = Ledger(clock, observer, whose)
        forecaster: Forecaster = SketchForecaster(clock, OneWay(), budget)
        self._forecaster = forecaster
        self._pace = Pace(clock, budget, forecaster, _NeverLate()) if paced else None
        self._request = LlmRequest(
            SessionId("sess_bench"), TurnId(0), (Message("user", "What time is it?"),), draft=True
        )
        self._n = 0

    def hold(self) -> TurnRecord:
        """One turn. Its stages take no time, but its marks say that they did."""
        self._n += 1
        turn, now_ns = TurnId(self._n), self._clock.now_ns()
        zero_ns, ledger, pace = now_ns - 100 * MS, self._ledger, self._pace
        ledger.note(SpeechPaused(now_ns, UtteranceId(self._n), zero_ns))
        trail = ledger.begin(turn, draft=True)
        live = LiveReply(
            turn, ItemId("item_bench"), "audio", SpeechRequest(""), replace(self._request, turn=turn)
        )
        if pace is not None:
            pace.begin(live, trail, zero_ns)
        self._stamp(turn, Mark.LLM_SENT, now_ns - 30 * MS)
        ledger.note(SpeechEnded(now_ns, UtteranceId(self._n), zero_ns))
        ledger.note(WordsHeard(now_ns, UtteranceId(self._n), "what time is it"))
        ledger.commit(turn)
        if pace is not None:
            pace.watch(live)
        trail.used(Use("asr", "asr", "local", first_ms=2.0))
        trail.used(Use("llm", "llm", "local", first_ms=60.0))
        self._stamp(turn, Mark.LLM_FIRST_TOKEN, now_ns + 60 * MS)
        self._stamp(turn, Mark.CLAUSE_READY, now_ns + 90 * MS)
        self._stamp(turn, Mark.TTS_FIRST_AUDIO, now_ns + 130 * MS)
        self._stamp(turn, Mark.FIRST_SENT, now_ns + 131 * MS)
        if pace is not None:
            pace.stop()
            self._forecaster.observe("asr", "asr", 2.0)
        record = ledger.close(turn, now_ns + 2_000 * MS, Ending("answered", Usage(120, 20)))
        self._observer.turn_measured(record.marks)
        self._observer.turn_recorded(record)
        return record

    def _stamp(self, turn: TurnId, mark: Mark, at_ns: int) -> None:
        self._ledger.stamp(turn, mark, at_ns)
        if self._pace is not None:
            self._pace.stamped(turn, mark, at_ns)


def bench_metrics(listeners: list[TurnListener]) -> Metrics:
    """As the server has them."""
    metrics = Metrics(version="bench", profile="bench")
    metrics.listeners += listeners
    return metrics


class LookedAt:
    """A ring that somebody looks at now and then. Satisfies `listener.TurnListener`."""

    def __init__(self) -> None:
        self._ring = Ring(RING_TURNS)
        self._n = 0

    def answer_heard(self, turn_id: str, marks: TurnMarks) -> None:
        """See `listener.TurnListener`."""
        self._ring.answer_heard(turn_id, marks)

    def turn_recorded(self, record: TurnRecord) -> None:
        """A turn is over."""
        self._ring.turn_recorded(record)
        self._n += 1
        if self._n % LOOK_EVERY_TURNS == 0:
            with self._ring.table():
                pass


@contextmanager
def written(folder: Path) -> Iterator[Callable[[], Writer]]:
    """Makes writers into a SQLite file. Closing one waits until all is written."""
    database = Database(URL.create("sqlite", database=str(folder / "ledger.sqlite")))
    database.migrate()
    try:
        yield lambda: Writer(database, with_words=False, keep_days=30, unix_ms=unix_ms)
    finally:
        database.close()
