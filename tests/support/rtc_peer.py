"""What would a browser hear and say? A WebRTC client on plain aiortc, for tests and measurements.

It makes the offer, so whatever answers one can be tested with it. Real time, real sockets.
"""

import asyncio
import fractions
from collections.abc import Awaitable, Callable
from types import TracebackType

import numpy as np
from aioice import Candidate, Connection
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from aiortc.rtcicetransport import RTCIceTransport
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

    def __init__(
        self,
        *,
        ice_servers: list[RTCIceServer] | None = None,
        relay_only: bool = False,
        label: str = "oai-events",
    ) -> None:
        policy = RTCIceTransportPolicy.RELAY if relay_only else RTCIceTransportPolicy.ALL
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=ice_servers or [], iceTransportPolicy=policy))
        self._restarted: list[Connection] = []
        self.microphone = Microphone()
        self.messages: list[str | bytes] = []
        self.n_frames = 0
        self._parts: list[Pcm] = []
        self._is_deaf = False
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

    @property
    def ice(self) -> RTCIceTransport:
        assert self.pc.sctp is not None
        return self.pc.sctp.transport.transport

    @property
    def ufrag(self) -> str:
        """Of this end, in its first offer."""
        return self.ice.iceGatherer.getLocalParameters().usernameFragment or ""

    @property
    def deaf(self) -> bool:
        """Whether nothing comes through to this end any more."""
        return self._is_deaf

    @deaf.setter
    def deaf(self, is_deaf: bool) -> None:
        self._is_deaf = is_deaf
        for protocol in self.ice._connection._protocols:
            if is_deaf:
                protocol.datagram_received = _drop  # type: ignore[method-assign]
            else:
                del protocol.datagram_received

    async def restart(self, answerer: Answerer) -> None:
        """Go on over other sockets, as a browser does on another network. aiortc itself cannot."""
        old = self.ice._connection
        new = Connection(ice_controlling=True)
        self._restarted.append(new)
        await new.gather_candidates()
        kept = [
            line
            for line in self.pc.localDescription.sdp.splitlines()
            if not line.startswith(("a=candidate", "a=end-of-candidates"))
        ]
        offer = "\r\n".join([*kept, *(f"a=candidate:{each.to_sdp()}" for each in new.local_candidates), ""])
        offer = offer.replace(old.local_username, new.local_username)
        answer = await answerer(offer.replace(old.local_password, new.local_password))
        for line in answer.splitlines():
            name, _, value = line.partition(":")
            if name == "a=candidate":
                await new.add_remote_candidate(Candidate.from_sdp(value))
            elif name == "a=ice-ufrag":
                new.remote_username = value
            elif name == "a=ice-pwd":
                new.remote_password = value
        new._queue = old._queue
        await new.connect()
        self.ice._send = new.send

    async def close(self) -> None:
        """Hang up."""
        await self.pc.close()
        for connection in self._restarted:
            await connection.close()
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
                self._parts.append(part.to_ndarray().reshape(-1).astype(np.int16))
            self.n_frames += 1
            self._changed.set()


def _drop(data: bytes | str, addr: object) -> None:
    """Nothing comes through."""
