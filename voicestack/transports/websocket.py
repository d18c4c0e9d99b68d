"""A Realtime client over WebSocket: its audio formats in and out, its messages, its pace."""

import asyncio
from collections import deque
from collections.abc import Callable

from websockets.frames import CloseCode

from voicestack.aio.clock import Clock, Timer
from voicestack.core.audio import EAR_RATE_HZ, AudioFrame, Pcm, SpokenFrame
from voicestack.core.commands import Command
from voicestack.core.errors import TransportLost
from voicestack.core.g711 import encode_a_law, encode_mu_law
from voicestack.core.ids import TurnId
from voicestack.core.notes import Note, Problem, ReplyEnded
from voicestack.core.resample import Resampler
from voicestack.realtime.formats import AudioFormat, samples_of
from voicestack.realtime.protocol import InputAudio, RealtimeProtocol
from voicestack.transports.sidebands import Sidebands
from voicestack.transports.ws_peer import WebSocketPeer, ignore_message

BITE_MS = 500
"""Audio that is dealt with in one turn of the event loop. A client may append minutes at once."""

ORDERLY = {
    None: False,
    CloseCode.NORMAL_CLOSURE: True,
    CloseCode.GOING_AWAY: True,
    CloseCode.NO_STATUS_RCVD: True,
}


class RealtimeTransport:
    """Satisfies `ports.TransportSession` for one `WebSocketPeer`.

    Attributes:
        sidebands: Who else takes part.
    """

    def __init__(
        self, peer: WebSocketPeer, protocol: RealtimeProtocol, *, tts_rate_hz: int, clock: Clock
    ) -> None:
        self._peer, self._protocol, self._clock = peer, protocol, clock
        self._tts_rate_hz = tts_rate_hz
        self._n_samples = 0
        self._ear = _Ear(protocol.input_format)
        self._lips: dict[TurnId, _Lips] = {}
        self._sink: Callable[[AudioFrame | Command], None] | None = None
        self._backlog: deque[Command | InputAudio] = deque()
        self._timer: Timer | None = None
        self._closed: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._early: list[str | bytes] = []
        self.sidebands = Sidebands(protocol)
        peer.on_message = self._on_early
        peer.on_closed = self._on_closed

    async def run(self, on_received: Callable[[AudioFrame | Command], None]) -> None:
        """See `ports.TransportSession`."""
        self._sink = on_received
        self.sidebands.open(on_received)
        self._send(self._protocol.opening())
        self._peer.on_message = self._on_message
        for message in self._early:
            self._on_message(message)
        self._early.clear()
        try:
            code = await self._closed
        finally:
            self._peer.on_message = ignore_message
            self.sidebands.close()
            if self._timer is not None:
                self._timer.cancel()
        if code not in ORDERLY:
            raise TransportLost(f"{self._peer.client} is gone (close code {code})")

    def tell(self, note: Note) -> None:
        """See `ports.TransportSession`."""
        if isinstance(note, ReplyEnded):
            lips = self._lips.pop(note.turn, None)
            if lips is not None and note.status == "completed":
                self._send(self._protocol.audio(note.turn, lips.rest(), ""))
        frames = self._protocol.tell(note)
        if not (isinstance(note, Problem) and self.sidebands.blame(frames)):
            self._send(frames)

    def play(self, turn: TurnId, frame: SpokenFrame) -> None:
        """See `ports.TransportSession`."""
        data = b""
        if len(frame.pcm):
            lips = self._lips.get(turn)
            if lips is None:
                lips = self._lips[turn] = _Lips(self._tts_rate_hz, self._protocol.output_format)
            data = lips.encode(frame.pcm)
        self._send(self._protocol.audio(turn, data, frame.text))

    def flush(self) -> None:
        """The client owns its buffer: `speech_started` or `response.done` tells it to drop it."""

    def _send(self, frames: list[bytes]) -> None:
        self._peer.send(frames)
        self.sidebands.hear(frames)

    def _on_early(self, message: str | bytes) -> None:
        self._early.append(message)

    def _on_closed(self, code: int | None) -> None:
        if not self._closed.done():
            self._closed.set_result(code)

    def _on_message(self, message: str | bytes) -> None:
        received = self._protocol.receive(message)
        if received.answers:
            self._peer.send(list(received.answers))
        if received.close is not None:
            self._peer.close(*received.close)
        for command in received.commands:
            if self._backlog or (type(command) is InputAudio and len(command.data) > self._ear.bite_bytes):
                self._backlog.append(command)
            else:
                self._deliver(command)
        if self._backlog and self._timer is None:
            self._peer.pause()
            self._work_off()

    def _work_off(self) -> None:
        """Deal with one bite of what has piled up, then let the others have a turn."""
        self._timer = None
        command = self._backlog.popleft()
        if type(command) is InputAudio and len(command.data) > self._ear.bite_bytes:
            rest = InputAudio(command.data[self._ear.bite_bytes :])
            command = InputAudio(command.data[: self._ear.bite_bytes])
            self._backlog.appendleft(rest)
        self._deliver(command)
        if self._backlog:
            self._timer = self._clock.call_at(self._clock.now_ns(), self._work_off)
        else:
            self._peer.resume()

    def _deliver(self, command: Command | InputAudio) -> None:
        assert self._sink is not None
        if type(command) is not InputAudio:
            assert not isinstance(command, InputAudio)
            self._sink(command)
            return
        if self._ear.format != self._protocol.input_format:
            self._ear = _Ear(self._protocol.input_format)
        pcm = self._ear.decode(command.data)
        if len(pcm):
            frame = AudioFrame(pcm, self._n_samples, self._clock.now_ns())
            self._n_samples = frame.end_sample
            self._sink(frame)


class _Ear:
    """From the client's format to what a session hears."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self.format = audio_format
        self.bite_bytes = audio_format.rate_hz * BITE_MS // 1000 * audio_format.sample_bytes
        self._resampler = Resampler(audio_format.rate_hz, EAR_RATE_HZ)

    def decode(self, data: bytes) -> Pcm:
        """To int16 mono at EAR_RATE_HZ."""
        return self._resampler.push(samples_of(data, self.format))


class _Lips:
    """From the TTS to the client's format, for one reply."""

    def __init__(self, tts_rate_hz: int, audio_format: AudioFormat) -> None:
        self._kind = audio_format.kind
        self._resampler = Resampler(tts_rate_hz, audio_format.rate_hz)

    def encode(self, pcm: Pcm) -> bytes:
        """From int16 mono at the TTS's rate."""
        return self._written(self._resampler.push(pcm))

    def rest(self) -> bytes:
        """The last 2 ms, which the resampler still holds."""
        return self._written(self._resampler.flush())

    def _written(self, pcm: Pcm) -> bytes:
        match self._kind:
            case "pcm":
                return pcm.tobytes()
            case "pcmu":
                return encode_mu_law(pcm).tobytes()
            case "pcma":
                return encode_a_law(pcm).tobytes()
