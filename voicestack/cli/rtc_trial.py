"""What does a bad network do to what is heard at either end of a call?

Both ends are in this process, the server's link and a caller's peer connection, with a relay between them
that is the network. So every packet's fate is known: when it was spoken, when it was at the ear, and what it
sounded like there. No engine runs meanwhile.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_impair import Impairment, UdpRelay
from voicestack.cli.bench_speech import Line
from voicestack.cli.dialing import NoServer
from voicestack.cli.rtc_ear import Arrival, Counted
from voicestack.cli.rtc_grid import FRAME_NS, Delivered
from voicestack.cli.rtc_load import spoken_packets
from voicestack.cli.rtc_peer import LOOPBACK, Heard, RtcPeer
from voicestack.cli.rtc_sdp import Address, first_udp_candidate, through, without_candidates
from voicestack.cli.speaker import FRAME_MS, FRAME_SAMPLES
from voicestack.core.audio import EAR_RATE_HZ, NO_AUDIO, Pcm
from voicestack.transports.rtc_link import RtcLink
from voicestack.transports.rtc_settings import LinkFigures, RtcSettings

LEAD_FRAMES = 25
"""At the beginning the network is good, so that both ends agree on what the first packet was."""
TAIL_FRAMES = 60
"""At the end too, so that everything that will come has come."""
_GAP_FRAMES = 30
_PAUSE_FRAMES = 25
_AFTER_SAMPLES = EAR_RATE_HZ // 5
"""What is cut out for the recogniser ends so much after the recording: delays do not cut off words."""
_EAR_FRAME_SAMPLES = EAR_RATE_HZ // 50
_OPEN_TIMEOUT_S = 10
_LAST_WAIT_S = 0.2

Weather = Callable[[int, int], Impairment]
"""The network at a frame of a call, given its number and how many there are."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where in the call a recording is said, in frames of 20 ms."""

    line: Line
    start_frame: int
    n_frames: int


@dataclass(frozen=True, slots=True)
class Script:
    """What is said at both ends, frame by frame.

    Attributes:
        user: Opus packets.
        agent: int16 mono at 24 kHz; None where the agent is silent.
        stretches: The user's recordings.
    """

    user: list[bytes]
    agent: list[Pcm | None]
    stretches: list[Stretch]


def script(lines: Sequence[Line], *, n_frames_min: int = 0) -> Script:
    """The user says the lines one after the other, and the agent says them at the same time."""
    said: list[Pcm] = [np.zeros(LEAD_FRAMES * FRAME_SAMPLES, dtype=np.int16)]
    agent: list[Pcm | None] = [None, None]
    stretches, at = [], LEAD_FRAMES
    for line in lines:
        n_frames = -(-len(line.pcm) // FRAME_SAMPLES)
        whole = np.zeros((n_frames + _GAP_FRAMES) * FRAME_SAMPLES, dtype=np.int16)
        whole[: len(line.pcm)] = line.pcm
        said.append(whole)
        stretches.append(Stretch(line, at, n_frames))
        at += n_frames + _GAP_FRAMES
        agent += [*whole[: n_frames * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES), *[None] * _PAUSE_FRAMES]
    n_frames = max(at, n_frames_min) + TAIL_FRAMES
    said.append(np.zeros((n_frames - at) * FRAME_SAMPLES, dtype=np.int16))
    agent = [*agent, *[None] * n_frames][: n_frames - TAIL_FRAMES] + [None] * TAIL_FRAMES
    return Script(spoken_packets(np.concatenate(said)), agent, stretches)


@dataclass(slots=True)
class Record:
    """All that was seen of a call.

    Attributes:
        spoken_ns: When each of the user's packets left: its last sample had just been spoken.
        delivered: What came to the ear, and when.
        heard: The same as sound, int16 mono at EAR_RATE_HZ.
        due_ns: When each of the agent's packets was due.
        arrivals: The agent's packets at the caller.
        figures: The link's own.
        late_ms: For each frame, how long after it was due: the harness's own error.
    """

    spoken_ns: list[int] = field(default_factory=list)
    delivered: list[Delivered] = field(default_factory=list)
    heard: Pcm = field(default_factory=lambda: NO_AUDIO)
    due_ns: list[int] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    figures: LinkFigures = field(default_factory=LinkFigures)
    late_ms: list[float] = field(default_factory=list)

    def sound_of(self, stretch: Stretch) -> Pcm:
        """What was heard of a recording."""
        start = stretch.start_frame * _EAR_FRAME_SAMPLES
        return self.heard[start : start + stretch.n_frames * _EAR_FRAME_SAMPLES + _AFTER_SAMPLES]


class Trial:
    """One call.

    Args:
        clock: Stamps everything.
        scope: Owns the link.
        settings: Of the link; shared by all calls.
        seed: Of the network's chances.
    """

    def __init__(self, clock: Clock, scope: Scope, settings: RtcSettings, *, seed: int) -> None:
        self._clock = clock
        self._seed = seed
        self._record = Record()
        self._pieces: list[Pcm] = []
        self._n_heard_samples = 0
        self._sequence_of, self._timestamp_of = Counted(1 << 15), Counted(1 << 31)
        self._link = RtcLink(settings, clock, scope)
        self._link.on_audio = self._at_ear
        self._peer = RtcPeer(clock, on_packet=self._at_caller)

    async def run(self, said: Script, weather: Weather) -> Record:
        """Hold the call.

        Raises:
            NoServer: it could not be established.
        """
        offer = without_candidates(await self._peer.offer())
        answer = await self._link.answer(offer)
        server = first_udp_candidate(answer)
        good = Impairment()
        relay = UdpRelay((server.host, server.port), up=good, down=good, seed=self._seed)
        async with relay:
            try:
                await self._peer.accept(through(answer, Address(*relay.address)))
                async with asyncio.timeout(_OPEN_TIMEOUT_S):
                    if not await self._peer.opened():
                        raise NoServer("The trial's own call failed.")
                await self._speak(said, weather, relay)
            except TimeoutError:
                raise NoServer("The trial's own call did not connect.") from None
            finally:
                self._record.figures = self._link.figures
                self._link.close("the trial is over")
                await self._peer.close()
        self._record.heard = np.concatenate(self._pieces) if self._pieces else NO_AUDIO
        return self._record

    async def _speak(self, said: Script, weather: Weather, relay: UdpRelay) -> None:
        record, n_frames, speaking = self._record, len(said.user), False
        start_ns = self._clock.now_ns()
        for n, (packet, pcm) in enumerate(zip(said.user, said.agent, strict=True)):
            due_ns = start_ns + n * FRAME_NS
            await asyncio.sleep(max(0.0, (due_ns - self._clock.now_ns()) / 1e9))
            relay.up.path.impairment = relay.down.path.impairment = weather(n, n_frames)
            record.spoken_ns.append(self._clock.now_ns())
            record.late_ms.append((record.spoken_ns[-1] - due_ns) / 1e6)
            self._peer.send_packet(packet)
            # A frame whose time is over would queue up behind the pace, and all that follow with it.
            if pcm is not None and record.late_ms[-1] < FRAME_MS:
                record.due_ns.append(self._clock.now_ns())
                self._link.play(pcm)
            elif pcm is None and speaking:
                self._link.rest()
            speaking = pcm is not None
        await asyncio.sleep(_LAST_WAIT_S)

    def _at_ear(self, pcm: Pcm, arrived_ns: int) -> None:
        self._pieces.append(pcm)
        self._n_heard_samples += len(pcm)
        self._record.delivered.append(Delivered(self._n_heard_samples, self._clock.now_ns(), arrived_ns))

    def _at_caller(self, packet: Heard) -> None:
        self._record.arrivals.append(
            Arrival(
                self._sequence_of(packet.sequence), self._timestamp_of(packet.timestamp), packet.arrived_ns
            )
        )


def link_settings() -> RtcSettings:
    """A link that is reached on this machine only."""
    return RtcSettings(addresses=(LOOPBACK,))
