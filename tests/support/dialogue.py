"""A session with scripted engines and a peer in memory, for whole conversations on virtual time."""

import itertools
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tests.support.virtual_loop import run_virtual
from voicestack.access.spending import Spender, Spending
from voicestack.aio.clock import LoopClock
from voicestack.aio.scope import Scope
from voicestack.core.audio import EAR_RATE_HZ, Pcm
from voicestack.core.ids import SessionId
from voicestack.core.marks import TurnMarks
from voicestack.core.served import ToolServers
from voicestack.core.settings import ServerVad, SessionSettings
from voicestack.core.turn_record import TurnRecord
from voicestack.engines.scripted import EnergyVad, ScriptedAsr, ScriptedLlm, ScriptedTts
from voicestack.ports import Asr, Forecaster, Llm, Tts, Vad
from voicestack.session.session import Session
from voicestack.session.tuning import Engines, Tuning
from voicestack.transports.memory import MemoryPeer

SETTINGS = SessionSettings(instructions="Be brief.", turn_detection=ServerVad(silence_duration_ms=200))


@dataclass(slots=True)
class Figures:
    """Satisfies `ports.Observer` by keeping everything."""

    turns: list[TurnMarks] = field(default_factory=list)
    records: list[TurnRecord] = field(default_factory=list)
    late_ns: list[int] = field(default_factory=list)
    flush_ns: list[int] = field(default_factory=list)
    drafts: list[bool] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    heard_after_ms: list[float | None] = field(default_factory=list)
    heard_ids: list[str] = field(default_factory=list)
    n_disbelieved: int = 0

    def turn_measured(self, marks: TurnMarks) -> None:
        self.turns.append(marks)

    def turn_recorded(self, record: TurnRecord) -> None:
        self.records.append(record)

    def answer_heard(self, turn_id: str, marks: TurnMarks) -> None:
        self.heard_after_ms.append(marks.heard_after_ms)
        self.heard_ids.append(turn_id)

    def heard_disbelieved(self) -> None:
        self.n_disbelieved += 1

    def playout_sent(self, late_ns: int) -> None:
        self.late_ns.append(late_ns)

    def barge_in(self, decision_to_flush_ns: int) -> None:
        self.flush_ns.append(decision_to_flush_ns)

    def draft_ended(self, *, won: bool) -> None:
        self.drafts.append(won)

    def stage_failed(self, stage: str, code: str) -> None:
        self.failures.append((stage, code))


def speech(ms: float) -> Pcm:
    """Something loud: int16 at EAR_RATE_HZ."""
    n = np.arange(int(ms * EAR_RATE_HZ / 1000))
    tone: Pcm = np.rint(8000 * np.sin(2 * np.pi * 220 * n / EAR_RATE_HZ)).astype(np.int16)
    return tone


@dataclass(slots=True)
class Dialogue:
    """Everything about one conversation."""

    peer: MemoryPeer
    session: Session
    figures: Figures
    clock: LoopClock

    def ms_since(self, start_ns: int) -> float:
        return (self.clock.now_ns() - start_ns) / 1e6

    def context(self) -> list[tuple[str, str]]:
        """What the LLM would be given now, without the instructions."""
        return [(m.role, m.text) for m in self.session.history.messages("")]


Script = Callable[[Dialogue], Awaitable[None]]


def converse(
    script: Script,
    *,
    asr: Asr | None = None,
    llm: Llm | None = None,
    tts: Tts | None = None,
    vad: Vad | None = None,
    settings: SessionSettings = SETTINGS,
    tuning: Tuning | None = None,
    tool_servers: ToolServers | None = None,
    spender: Spender | None = None,
    forecaster: Forecaster | None = None,
    run: Callable[[Coroutine[Any, Any, Dialogue]], Dialogue] = run_virtual,
    **changes: Any,
) -> Dialogue:
    """Run a conversation on virtual time; the script is the user. Fails on leaked tasks."""
    tuning = replace(tuning or Tuning(), **changes)
    engines = Engines(
        vad or EnergyVad(),
        asr or ScriptedAsr(["what time is it"]),
        llm or ScriptedLlm(["It is five o'clock."]),
        tts or ScriptedTts(),
        tool_servers,
        forecaster,
    )
    return run(_converse(script, engines, settings, tuning, spender or Spender()))


async def _converse(
    script: Script, engines: Engines, settings: SessionSettings, tuning: Tuning, spender: Spender
) -> Dialogue:
    clock = LoopClock()
    peer, figures = MemoryPeer(clock), Figures()
    numbers = itertools.count(1)
    session = Session(
        SessionId("sess_1"),
        peer,
        engines,
        settings=settings,
        tuning=tuning,
        clock=clock,
        observer=figures,
        new_id=lambda prefix: f"{prefix}_{next(numbers)}",
        meter=Spending(clock).meter(spender),
    )
    dialogue = Dialogue(peer, session, figures, clock)

    async def user() -> None:
        await script(dialogue)
        peer.hang_up()

    async with Scope() as scope:
        scope.start(user(), name="user")
        await session.run()
    return dialogue
