"""How can one core hold a hundred WebRTC calls with a server?

By doing nothing twice, as over the WebSocket (`bench_load`): what is said was encoded before, and of what
comes back only the packets' headers are read, which SRTP leaves open. ICE, DTLS and the data channel are
aiortc's. One coroutine paces all callers, and its lateness is recorded.
"""

import asyncio
import random
from dataclasses import dataclass, field

import numpy as np

from voicestack.aio.clock import Clock
from voicestack.cli.bench_pace import FRAME_NS, Asker, Window, pace
from voicestack.cli.bench_speech import Line
from voicestack.cli.dialing import NoServer
from voicestack.cli.rtc_caller import post_offer
from voicestack.cli.rtc_ear import Counted
from voicestack.cli.rtc_peer import PACKET_SAMPLES, RTP_RATE_HZ, Heard, RtcPeer
from voicestack.cli.rtc_sdp import BadSdp, without_candidates
from voicestack.cli.speaker import CALL_RATE_HZ, FRAME_MS, FRAME_SAMPLES
from voicestack.core.audio import Pcm
from voicestack.transports.opus import OpusEncoder

_OPEN_TIMEOUT_S = 20
_N_STEADY = 10
"""Packets at the beginning of an answer that say nothing about pacing: the WebSocket's bench leaves out as
much, 200 ms."""
_MAX_SPURT = 250
"""An echo never pauses; after 5 s its pace is judged, as that of an answer is."""
_BUFFER_NS = 60_000_000
"""What a browser's playout buffer is under good conditions. A packet that comes later is heard as a gap."""
_N_QUIET = 25
"""Packets of silence after which Opus repeats itself."""
ECHO_PAUSE_NS = (5_000_000_000, 9_000_000_000)
"""Between the questions of somebody who talks to an echo: as long as an agent would have answered."""


def spoken_packets(pcm: Pcm) -> list[bytes]:
    """A recording at CALL_RATE_HZ as Opus packets; the last one is filled up with silence."""
    encoder = OpusEncoder(CALL_RATE_HZ)
    padded = np.zeros(-(-len(pcm) // FRAME_SAMPLES) * FRAME_SAMPLES, dtype=np.int16)
    padded[: len(pcm)] = pcm
    return [encoder.encode(frame) for frame in padded.reshape(-1, FRAME_SAMPLES)]


@dataclass(slots=True)
class Pace:
    """How late packets come by the pace of their own timestamps, spurt by spurt.

    `late_ms` and `n_gaps` say what has been judged; a spurt is when it is over.
    """

    late_ms: list[float] = field(default_factory=list)
    n_gaps: int = 0
    _behind_ns: list[int] = field(default_factory=list)
    _last: tuple[int, int] = (0, 0)
    _sequence_of: Counted = field(default_factory=lambda: Counted(1 << 15))
    _timestamp_of: Counted = field(default_factory=lambda: Counted(1 << 31))

    def take(self, packet: Heard) -> None:
        """A packet came."""
        sequence, timestamp = self._sequence_of(packet.sequence), self._timestamp_of(packet.timestamp)
        n_steps, n_samples = sequence - self._last[0], timestamp - self._last[1]
        if n_samples != n_steps * PACKET_SAMPLES or len(self._behind_ns) >= _MAX_SPURT:
            self.judge()
        self._last = sequence, timestamp
        self._behind_ns.append(packet.arrived_ns - timestamp * 1_000_000_000 // RTP_RATE_HZ)

    def judge(self) -> None:
        """The spurt is over."""
        steady = self._behind_ns[_N_STEADY:]
        if steady:
            earliest_ns = min(steady)
            self.late_ms += [(behind - earliest_ns) / 1e6 for behind in steady]
        self.n_gaps += sum(behind > self._behind_ns[0] + _BUFFER_NS for behind in self._behind_ns)
        self._behind_ns.clear()


class RtcLoadCaller:
    """One caller: a call, a microphone that is always on, and a patient ear.

    Args:
        harness: What all callers share.
        number: Which of them this is.
    """

    def __init__(self, harness: "RtcHarness", number: int) -> None:
        self._harness = harness
        rng = random.Random(number)
        self.phase_ns = rng.randrange(FRAME_NS)
        self._asker = Asker(rng, harness.lines, pause_ns=None if harness.update else ECHO_PAUSE_NS)
        self.peer = RtcPeer(
            harness.clock, on_packet=self._heard, on_text=self._text, on_closed=self._lost, sealed=True
        )
        self._pace = Pace()
        self._heard_ns = 0

    async def connect(self, address: str) -> None:
        """Call.

        Raises:
            NoServer: nobody answers, or nothing came through.
        """
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT_S):
                offer = without_candidates(await self.peer.offer())
                await self.peer.accept(await post_offer(address, offer, insecure=True))
                if not await self.peer.opened():
                    raise NoServer(f"The connection to {address} failed.")
        except (TimeoutError, BadSdp, ValueError) as failed:
            raise NoServer(f"No connection to {address}: {failed or 'it took too long'}.") from failed
        if self._harness.update:
            self.peer.send_text(self._harness.update)
        self._asker.begin(self._harness.clock.now_ns())

    def _lost(self) -> None:
        if not self._harness.closing:
            self._harness.window.n_lost += 1

    def tick(self, now_ns: int) -> None:
        """Send the next 20 ms."""
        packet = self._asker.next_frame(now_ns, self._heard_ns, self._harness.window)
        self.peer.send_packet(packet or self._harness.silence)

    def _heard(self, packet: Heard) -> None:
        self._heard_ns = packet.arrived_ns
        self._pace.take(packet)
        window = self._harness.window
        window.agent_ms += FRAME_MS
        if self._pace.late_ms:
            window.arrival_late_ms.extend(self._pace.late_ms)
            window.n_gaps += self._pace.n_gaps
            self._pace.late_ms, self._pace.n_gaps = [], 0

    def _text(self, text: str) -> None:
        if not text.startswith('{"type":"output_audio_buffer.stopped"'):
            return
        self._harness.window.n_answers += 1
        self._pace.judge()
        self._asker.answered(self._harness.clock.now_ns(), self._heard_ns)


class RtcHarness:
    """All callers of one process.

    Args:
        address: Where offers are sent.
        lines: What the callers say.
        update: The `session.update` that every caller begins with; empty for an echo, which knows no events
            and gives no answers.
        clock: Paces the callers.
    """

    def __init__(self, address: str, lines: list[Line], update: str, clock: Clock) -> None:
        self._address = address
        self.lines = [spoken_packets(line.pcm) for line in lines]
        self.silence = spoken_packets(np.zeros(_N_QUIET * FRAME_SAMPLES, dtype=np.int16))[-1]
        self.update = update
        self.clock = clock
        self.window = Window()
        self.closing = False
        self._callers: list[RtcLoadCaller] = []

    async def grow(self, n_callers: int) -> None:
        """Connect more callers, one after the other, until there are so many.

        Raises:
            NoServer: one of them gets no connection.
        """
        while len(self._callers) < n_callers:
            caller = RtcLoadCaller(self, len(self._callers))
            await caller.connect(self._address)
            self._callers = sorted([*self._callers, caller], key=lambda one: one.phase_ns)

    async def pace(self) -> None:
        """Send every caller's packets when they are due, for ever."""
        await pace(self.clock, lambda: self._callers, self._late)

    def _late(self, late_ms: float) -> None:
        self.window.send_late_ms.append(late_ms)

    async def close(self) -> None:
        """Hang up every call."""
        self.closing = True
        for caller in self._callers:
            await caller.peer.close()
