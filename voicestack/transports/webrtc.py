"""A Realtime call over WebRTC: events on a data channel, sound both ways, and what happens when it breaks.

Here it is the server that plays: what has been played is known, and cut to when the user interrupts. The peer
connection may break and be replaced by another one within a grace period; the conversation goes on.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from voicestack.aio.clock import Clock, Timer
from voicestack.core.audio import AudioFrame, Pcm, SpokenFrame
from voicestack.core.commands import CancelReply, Command, CreateReply
from voicestack.core.errors import TransportLost, VoiceStackError
from voicestack.core.history import Entry
from voicestack.core.ids import TurnId
from voicestack.core.notes import Note, Problem, ReplyEnded
from voicestack.core.resample import Resampler
from voicestack.realtime.protocol import InputAudio, RealtimeProtocol
from voicestack.transports.link import PLAY_RATE_HZ, Link
from voicestack.transports.sidebands import Sidebands

EARLY_BYTES = 262_144
"""Events kept for a client whose data channel is not open yet. Beyond it they are lost."""

LAST_WORDS_NS = 200_000_000
"""From the event that says why a call ends to its end: what is on its way goes with the connection."""


class CallState(Enum):
    """Whether the client is there."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    DETACHED = "detached"  # its connection broke, and it may come back


@dataclass(frozen=True, slots=True)
class CallWaits:
    """How long a call waits for its client.

    Attributes:
        connect_ms: From the answer to its offer until it is connected.
        grace_ms: From when it vanished until it is connected anew. With 0 the call ends when it vanishes.
    """

    connect_ms: int
    grace_ms: int = 0


class WebRtcTransport:
    """Satisfies `ports.TransportSession` on one link after the other.

    Args:
        protocol: One that owns playout.
        tts_rate_hz: Rate of the frames to play.
        clock: For waits.
        waits: See `CallWaits`.

    Attributes:
        state: Whether the client is there.
        on_dropped: Given each link that is used no more.
        has_received: Whether it has ever sent anything.
        sidebands: Who else takes part.
    """

    def __init__(
        self, protocol: RealtimeProtocol, *, tts_rate_hz: int, clock: Clock, waits: CallWaits
    ) -> None:
        self._protocol, self._clock, self._waits = protocol, clock, waits
        self._tts_rate_hz = tts_rate_hz
        self._link: Link | None = None
        self._recall: Callable[[], Iterable[Entry]] = tuple
        self._early: list[bytes] = []
        self._is_open = False  # the data channel
        self._was_open = self._was_there = False
        self._n_samples = 0
        self._voice: tuple[TurnId, Resampler] | None = None
        self._owes_reply = False
        self._timer: Timer | None = None
        self._sink: Callable[[AudioFrame | Command], None] | None = None
        self._listening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.state = CallState.CONNECTING
        self.has_received = False
        self.on_dropped: Callable[[Link], None] = _ignore
        self.sidebands = Sidebands(protocol)

    @property
    def link(self) -> Link | None:
        """The peer connection of the moment."""
        return self._link

    @property
    def is_over(self) -> bool:
        """Whether nothing can be attached any more."""
        return self._over.done()

    async def run(self, on_received: Callable[[AudioFrame | Command], None]) -> None:
        """See `ports.TransportSession`."""
        self._sink = on_received
        self.sidebands.open(on_received)
        self._listening.set_result(None)
        try:
            lost = await self._over
        finally:
            self._drop("the call is over")
            self.sidebands.close()
            self._wait(None, 0)
        if lost is not None:
            raise TransportLost(lost)

    async def listening(self) -> None:
        """Wait until the session runs."""
        begun: list[asyncio.Future[Any]] = [self._listening, self._over]
        await asyncio.wait(begun, return_when=asyncio.FIRST_COMPLETED)

    def attach(self, link: Link, recall: Callable[[], Iterable[Entry]]) -> None:
        """Begin, or go on, over this link, in place of the present one if there still is one.

        Args:
            link: It has answered the client's offer.
            recall: The conversation so far, asked for when the client is there.
        """
        if self.is_over:
            link.close("the call is over")
            return
        self._cut()
        self._drop("the client comes back by another way")
        self._recall = recall
        self._take(link)

    def hang_up(self) -> None:
        """End the call."""
        self._end(None)

    def end(self, error: VoiceStackError) -> None:
        """End the call, and say why."""
        self._send(self._protocol.tell(Problem(error)))
        self._clock.call_at(self._clock.now_ns() + LAST_WORDS_NS, self.hang_up)

    # --- what the session says ------------------------------------------------------------------------

    def tell(self, note: Note) -> None:
        """See `ports.TransportSession`."""
        if isinstance(note, ReplyEnded) and note.turn == self._protocol.playing:
            self._stop_playing(is_cut=note.status == "cancelled")
        frames = self._protocol.tell(note)
        if not (isinstance(note, Problem) and self.sidebands.blame(frames)):
            self._send(frames)

    def play(self, turn: TurnId, frame: SpokenFrame) -> None:
        """See `ports.TransportSession`."""
        frames: list[bytes] = []
        if len(frame.pcm):
            before = self._protocol.playing
            frames = self._protocol.begin_playing(turn)
            if before is not None and before != self._protocol.playing and self._link is not None:
                self._link.flush()
            if turn == self._protocol.playing:
                self._sound(turn, frame.pcm)
        self._send([*frames, *self._protocol.audio(turn, b"", frame.text)])

    def flush(self) -> None:
        """See `ports.TransportSession`. A reply beside the conversation plays on."""
        if self._protocol.plays_aside:
            return
        if self._link is not None:
            self._link.flush()
        self._send(self._protocol.silenced())

    def _sound(self, turn: TurnId, pcm: Pcm) -> None:
        if self._voice is None or self._voice[0] != turn:
            self._voice = turn, Resampler(self._tts_rate_hz, PLAY_RATE_HZ)
            if self.state is not CallState.CONNECTED:  # nobody would hear it
                self._owes_reply = not self._protocol.plays_aside
                self._clock.call_at(self._clock.now_ns(), self._cut)
        if self._link is not None:
            self._link.play(self._voice[1].push(pcm))

    def _stop_playing(self, *, is_cut: bool) -> None:
        voice, self._voice = self._voice, None
        if self._link is None or voice is None:
            return
        if is_cut:
            self._link.flush()
        else:  # the last 2 ms, which the resampler still holds
            self._link.play(voice[1].flush())
            self._link.rest()

    def _cut(self) -> None:
        """Nobody hears, or reads, what is being said: let it end here."""
        if self._sink is None or self.is_over:
            return
        for turn in self._protocol.under_way:
            self._sink(CancelReply(turn))

    def _send(self, frames: list[bytes]) -> None:
        if self._is_open and self._link is not None:
            self._link.send(frames)
        elif not self._was_open:  # whoever comes back is told what was said
            self._early += frames
            if sum(map(len, self._early)) > EARLY_BYTES:
                self._early.clear()
        self.sidebands.hear(frames)

    # --- what the client sends ------------------------------------------------------------------------

    def _on_open(self, link: Link) -> None:
        if link is not self._link or self._is_open or self.is_over:
            return
        opening = self._protocol.resumed(self._recall()) if self._was_open else self._protocol.opening()
        self._is_open = self._was_open = True
        self._connected()
        early, self._early = self._early, []
        link.send([*opening, *early])
        if self._owes_reply and self._sink is not None:
            self._owes_reply = False
            self._sink(CreateReply())

    def _on_message(self, link: Link, message: str | bytes) -> None:
        if link is not self._link or self._sink is None or self.is_over:
            return
        self._on_open(link)  # if it has not said so yet
        self.has_received = True
        received = self._protocol.receive(message)
        link.send(received.answers)
        for command in received.commands:
            if not isinstance(command, InputAudio):  # the audio is what the call itself carries
                self._sink(command)

    def _on_audio(self, link: Link, pcm: Pcm, arrived_ns: int) -> None:
        if link is not self._link or self._sink is None or self.is_over:
            return
        self.has_received = True
        if not self._was_open:  # it may never want events; whoever comes back has wanted them
            self._connected()
        frame = AudioFrame(pcm, self._n_samples, arrived_ns)
        self._n_samples = frame.end_sample
        self._sink(frame)

    # --- whether the client is there ------------------------------------------------------------------

    def _take(self, link: Link) -> None:
        self._link, self._is_open, self.state = link, False, CallState.CONNECTING
        link.on_open = partial(self._on_open, link)
        link.on_message = partial(self._on_message, link)
        link.on_audio = partial(self._on_audio, link)
        link.on_closed = partial(self._on_closed, link)
        wait_ms = self._waits.connect_ms
        self._wait(lambda: self._vanished(f"no connection within {wait_ms} ms"), wait_ms)

    def _drop(self, reason: str) -> None:
        """The link is not the call's any more."""
        link, self._link, self._is_open = self._link, None, False
        if link is not None:
            self.on_dropped(link)
            link.close(reason)

    def _connected(self) -> None:
        if self.state is CallState.CONNECTING:
            self.state, self._was_there = CallState.CONNECTED, True
            self._wait(None, 0)

    def _on_closed(self, link: Link, reason: str) -> None:
        if link is self._link and not self.is_over:
            self._vanished(reason)

    def _vanished(self, reason: str) -> None:
        """The client is gone, or never came. If it has been there, it may come back."""
        client = (self._link.client if self._link is not None else "") or "the client"
        self._drop(reason)
        if not (self._waits.grace_ms and self._was_there):
            self._end(f"{client} is gone ({reason})")
            return
        self.state = CallState.DETACHED
        self._wait(self.hang_up, self._waits.grace_ms)
        self._cut()

    def _end(self, lost: str | None) -> None:
        if not self._over.done():
            self._over.set_result(lost)

    def _wait(self, callback: Callable[[], None] | None, wait_ms: int) -> None:
        """Arrange what happens if nothing else does, in place of what was arranged before."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if callback is not None:
            self._timer = self._clock.call_at(self._clock.now_ns() + wait_ms * 1_000_000, callback)


def _ignore(link: Link) -> None:
    """Nobody counts."""
