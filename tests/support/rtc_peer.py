"""What would a browser hear and say? A WebRTC client on plain aiortc, for tests and measurements.

It makes the offer, so whatever answers one can be tested with it. Real time, real sockets.
"""

import asyncio
import fractions
from collections.abc import Awaitable, Callable
from types import TracebackType

import numpy as np
from aiortc import RTCConfiguration, RTCDataChannel, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame
from av.audio.resampler import AudioResampler

from voicestack.core.audio import NO_AUDIO, Pcm

RATE_HZ = 48_000
FRAME_SAMPLES = RATE_HZ // 50
FRAME_S = 0.02

Answerer = Callable[[str], Awaitable[str]]
"""Given the offer's SDP, returns the answer's."""


def tone(hz: float, duration_s: float, rate_hz: int = RATE_HZ, *, level: float = 0.3) -> Pcm:
    """A sine, int16 mono."""
    at = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (level * 32767 * np.sin(2 * np.pi * hz * at)).astype(np.int16)


def pitch_hz(pcm: Pcm, rate_hz: int) -> float:
    """The strongest frequency."""
    if len(pcm) < 64:
        return 0.0
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum)) * rate_hz / len(pcm)


class Microphone(MediaStreamTrack):
    """Says what it is given, in real time, and silence otherwise."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.audio: Pcm = NO_AUDIO
        self._n_frames = 0
        self._began_s: float | None = None

    def say(self, pcm: Pcm) -> None:
        """Queue 48 kHz mono audio."""
        self.audio = np.concatenate((self.audio, pcm))

    async def recv(self) -> AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        if self._began_s is None:
            self._began_s = loop.time()
        await asyncio.sleep(max(0.0, self._began_s + self._n_frames * FRAME_S - loop.time()))
        pcm, self.audio = self.audio[:FRAME_SAMPLES], self.audio[FRAME_SAMPLES:]
        pcm = np.pad(pcm, (0, FRAME_SAMPLES - len(pcm)))
        frame = AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        frame.pts = self._n_frames * FRAME_SAMPLES
        frame.time_base = fractions.Fraction(1, RATE_HZ)
        self._n_frames += 1
        return frame


class RtcPeer:
    """One client. `async with RtcPeer() as peer: await peer.call(answerer)`.

    Attributes:
        pc: aiortc's connection.
        channel: `oai-events`.
        microphone: What it says.
        messages: Everything that came over the channel.
        heard: Everything that was heard: 48 kHz mono, decoded by aiortc.
        n_frames: Frames of that.
    """

    def __init__(self, *, ice_servers: list[RTCIceServer] | None = None, label: str = "oai-events") -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=ice_servers or []))
        self.microphone = Microphone()
        self.messages: list[str | bytes] = []
        self.n_frames = 0
        self._parts: list[Pcm] = []
        self._listener: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.pc.addTrack(self.microphone)
        self.channel: RTCDataChannel = self.pc.createDataChannel(label)
        self.channel.on("message", self._on_message)
        for event in ("open", "close"):
            self.channel.on(event, self._changed.set)
        self.pc.on("track", self._on_track)
        self.pc.on("connectionstatechange", self._changed.set)

    async def __aenter__(self) -> "RtcPeer":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def heard(self) -> Pcm:
        return np.concatenate(self._parts) if self._parts else NO_AUDIO

    async def call(self, answerer: Answerer) -> str:
        """Offer, have it answered, and start to connect. Returns the answer."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        answer = await answerer(self.pc.localDescription.sdp)
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        return answer

    async def wait_until(self, holds: Callable[[], bool], *, timeout_s: float = 20.0) -> None:
        """Wait for something to become true.

        Raises:
            TimeoutError: it did not.
        """
        async with asyncio.timeout(timeout_s):
            while not holds():
                self._changed.clear()
                try:
                    async with asyncio.timeout(0.05):
                        await self._changed.wait()
                except TimeoutError:
                    pass

    async def opened(self) -> None:
        """Wait for the data channel."""
        await self.wait_until(lambda: self.channel.readyState == "open")

    async def close(self) -> None:
        """Hang up."""
        await self.pc.close()
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])

    def _on_message(self, message: str | bytes) -> None:
        self.messages.append(message)
        self._changed.set()

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._listener = asyncio.get_running_loop().create_task(self._listen(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        mono = AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, AudioFrame)
            for part in mono.resample(frame):
                self._parts.append(part.to_ndarray().reshape(-1))
            self.n_frames += 1
            self._changed.set()
