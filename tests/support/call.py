"""A call over WebRTC without a network: a link in memory, a client that speaks the protocol, virtual time."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson

from tests.support.dialogue import SETTINGS, Figures
from tests.support.realtime_check import make_protocol
from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import Clock, LoopClock
from voicestack.aio.scope import Scope
from voicestack.core.audio import EAR_RATE_HZ, Pcm
from voicestack.core.errors import PeerProtocolError, TransportLost
from voicestack.core.ids import SessionId
from voicestack.engines.scripted import EnergyVad, ScriptedAsr, ScriptedLlm, ScriptedTts
from voicestack.ports import Asr, Llm
from voicestack.realtime.protocol import RealtimeProtocol
from voicestack.session.session import Session
from voicestack.session.tuning import Engines, Tuning
from voicestack.transports.rtc_settings import LinkFigures
from voicestack.transports.webrtc import CallWaits, WebRtcTransport

Event = dict[str, Any]
FRAME_SAMPLES = EAR_RATE_HZ // 50


class FakeLink:
    """Satisfies `transports.webrtc.Link` and keeps everything.

    Attributes:
        log: (instant, what, with what) in order: event, play, rest, flush, close.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock, self.client = clock, "192.0.2.1"
        self.on_open: Callable[[], None] = lambda: None
        self.on_message: Callable[[str | bytes], None] = lambda message: None
        self.on_audio: Callable[[Pcm, int], None] = lambda pcm, arrived_ns: None
        self.on_closed: Callable[[str], None] = lambda reason: None
        self.on_sent: Callable[[int], None] = lambda late_ns: None
        self.figures = LinkFigures()
        self.log: list[tuple[int, str, Any]] = []

    def _keep(self, what: str, value: Any = None) -> None:
        self.log.append((self.clock.now_ns(), what, value))

    async def answer(self, offer: str) -> str:
        if offer == "wrong":
            raise PeerProtocolError("It is wrong.", code="invalid_offer")
        return "answer"

    async def restart(self, offer: str) -> str:
        return await self.answer(offer)

    def send(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            self._keep("event", orjson.loads(frame))

    def play(self, pcm: Pcm) -> None:
        self._keep("play", pcm)

    def rest(self) -> None:
        self._keep("rest")

    def flush(self) -> None:
        self._keep("flush")

    def close(self, reason: str) -> None:
        self._keep("close", reason)
        self.on_closed(reason)

    @property
    def events(self) -> list[Event]:
        return [value for _, what, value in self.log if what == "event"]

    @property
    def kinds(self) -> list[str]:
        """The events' types, and what else was done, without what is played."""
        return [value["type"] if what == "event" else what for _, what, value in self.log if what != "play"]

    def heard(self) -> Pcm:
        parts = [value for _, what, value in self.log if what == "play"]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)

    def at_ns(self, kind: str) -> int:
        """When that was first told, or done."""
        return next(
            at for at, what, value in self.log if kind == what or (what == "event" and value["type"] == kind)
        )


@dataclass(slots=True)
class Call:
    """A client's side of a call, and the server's."""

    link: FakeLink
    transport: WebRtcTransport
    protocol: RealtimeProtocol
    session: Session
    figures: Figures
    clock: LoopClock
    lost: TransportLost | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, kind: str, **fields: Any) -> None:
        self.link.on_message(orjson.dumps({"type": kind, **fields}).decode())

    async def say(self, pcm: Pcm) -> None:
        """At the pace of speech."""
        for at in range(0, len(pcm), FRAME_SAMPLES):
            await asyncio.sleep(0.02)
            self.link.on_audio(pcm[at : at + FRAME_SAMPLES], self.clock.now_ns())

    async def be_silent(self, ms: float) -> None:
        await self.say(np.zeros(int(ms * EAR_RATE_HZ / 1000), dtype=np.int16))

    async def until(self, kind: str, n_th: int = 1) -> Event:
        """That event, the n-th of its type on this link."""
        while True:
            found = [event for event in self.link.events if event["type"] == kind]
            if len(found) >= n_th:
                return found[n_th - 1]
            await asyncio.sleep(0.005)

    def come_back(self) -> FakeLink:
        """Over another link, which is not open yet."""
        self.link = FakeLink(self.clock)
        self.transport.attach(self.link, lambda: self.session.history)
        return self.link

    def context(self) -> list[tuple[str, str]]:
        return [(m.role, m.text) for m in self.session.history.messages("")]


CallScript = Callable[[Call], Awaitable[None]]


def in_call(
    script: CallScript,
    *,
    asr: Asr | None = None,
    llm: Llm | None = None,
    extensions: bool = True,
    grace_ms: int = 5_000,
    **changes: Any,
) -> Call:
    """Hold a call on virtual time. The script is the client; when it ends, the call is hung up."""
    tuning = replace(Tuning(lead_ms=40), **changes)
    engines = Engines(
        EnergyVad(),
        asr or ScriptedAsr(["what time is it"]),
        llm or ScriptedLlm(["It is five o'clock."]),
        ScriptedTts(),
    )
    return run_virtual(_in_call(script, engines, tuning, extensions, grace_ms))


async def _in_call(
    script: CallScript, engines: Engines, tuning: Tuning, extensions: bool, grace_ms: int
) -> Call:
    clock, numbers = LoopClock(), itertools.count(1)
    link, figures = FakeLink(clock), Figures()
    protocol = make_protocol(
        SETTINGS, extensions=extensions, owns_playout=True, numbers=numbers, now_ns=clock.now_ns
    )
    transport = WebRtcTransport(protocol, tts_rate_hz=24_000, clock=clock, waits=CallWaits(15_000, grace_ms))
    session = Session(
        SessionId("sess_1"),
        transport,
        engines,
        settings=protocol.settings,
        tuning=tuning,
        clock=clock,
        observer=figures,
        new_id=lambda prefix: f"{prefix}_{next(numbers)}",
    )
    call = Call(link, transport, protocol, session, figures, clock)

    async def client() -> None:
        await transport.listening()
        transport.attach(link, lambda: session.history)
        await script(call)
        transport.hang_up()

    async with Scope() as scope:
        scope.start(client(), name="client")
        try:
            await session.run()
        except TransportLost as lost:
            call.lost = lost
        call.ended.set()
    return call
