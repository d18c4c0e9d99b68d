"""Playout keeps the order, the pace and the books, however frames come."""

import asyncio

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.aio.scope import Scope
from voicestack.core.audio import SpokenFrame
from voicestack.core.ids import TurnId
from voicestack.session.playout import Playout

RATE_HZ = 8_000
LEAD_MS = 60
QUEUE_MS = 200
MS = 1_000_000

arrivals = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 40)), min_size=1, max_size=30)
"""(milliseconds after the one before, milliseconds of audio)"""


class Rig:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.sent: list[tuple[int, TurnId, SpokenFrame]] = []
        self.late: list[int] = []
        self.playout = Playout(
            self.clock,
            lambda turn, frame: self.sent.append((self.clock.now_ns(), turn, frame)),
            rate_hz=RATE_HZ,
            lead_ms=LEAD_MS,
            queue_ms=QUEUE_MS,
            on_sent=self.late.append,
        )

    async def fill(self, turn: TurnId, frames: list[tuple[int, int]]) -> None:
        for n, (wait_ms, audio_ms) in enumerate(frames):
            await asyncio.sleep(wait_ms / 1000)
            await self.playout.put(turn, SpokenFrame(np.zeros(audio_ms * 8, dtype=np.int16), str(n)))
            assert self.playout.queued_ms <= QUEUE_MS + 40, "the bound, and one frame"

    def audio_ms(self) -> list[float]:
        return [len(frame.pcm) / 8 for _, _, frame in self.sent]


@settings(max_examples=80, deadline=None)
@given(arrivals, st.integers(0, 300))
def test_everything_leaves_in_order_and_never_earlier_than_the_lead(
    frames: list[tuple[int, int]], gate_ms: int
) -> None:
    async def scenario() -> None:
        rig = Rig()
        rig.playout.begin(TurnId(1))
        async with Scope() as scope:
            scope.start(rig.fill(TurnId(1), frames), name="fill")
            await asyncio.sleep(gate_ms / 1000)
            assert rig.sent == [], "the gate is closed"
            opened = rig.clock.now_ns()
            rig.playout.open_gate(TurnId(1))
            while len(rig.sent) < len(frames):  # noqa: ASYNC110 (virtual time)
                await asyncio.sleep(0.01)
            await rig.playout.drained(TurnId(1))
        assert [frame.text for _, _, frame in rig.sent] == [str(n) for n in range(len(frames))]
        play_ms = None
        for (at_ns, _, _), duration_ms in zip(rig.sent, rig.audio_ms(), strict=True):
            now_ms = (at_ns - opened) / MS
            play_ms = now_ms if play_ms is None else max(play_ms, now_ms)
            assert play_ms - now_ms <= LEAD_MS + 0.01, "nothing leaves earlier than the lead"
            play_ms += duration_ms
        assert max(rig.late) < MS, "on a loop that is never busy, nothing is late"
        assert (rig.clock.now_ns() - opened) / MS >= (play_ms or 0) - 0.01, "drained means played"

    run_virtual(scenario())


@settings(max_examples=80, deadline=None)
@given(arrivals, st.integers(0, 1500))
def test_a_flush_is_final_and_knows_what_was_heard(frames: list[tuple[int, int]], flush_ms: int) -> None:
    async def scenario() -> None:
        rig = Rig()
        rig.playout.begin(TurnId(1))
        rig.playout.open_gate(TurnId(1))
        async with Scope() as scope:
            scope.start(rig.fill(TurnId(1), frames), name="fill")
            await asyncio.sleep(flush_ms / 1000)
            n_sent, sent_ms = len(rig.sent), sum(rig.audio_ms())
            heard_ms = rig.playout.flush()
            await asyncio.sleep(2)
            assert len(rig.sent) == n_sent, "nothing of a flushed reply leaves"
            assert max(0, sent_ms - LEAD_MS) - 40 <= heard_ms <= sent_ms + 1e-6
            assert rig.playout.queued_ms == 0

    run_virtual(scenario())


def test_frames_of_an_older_reply_are_dropped() -> None:
    async def scenario() -> None:
        rig = Rig()
        rig.playout.begin(TurnId(1))
        rig.playout.begin(TurnId(2))
        rig.playout.open_gate(TurnId(1))
        rig.playout.open_gate(TurnId(2))
        await rig.fill(TurnId(1), [(0, 20)] * 50)
        await rig.fill(TurnId(2), [(0, 20)])
        await rig.playout.drained(TurnId(2))
        assert [turn for _, turn, _ in rig.sent] == [2]

    run_virtual(scenario())


def test_a_putter_that_waits_for_room_is_let_go_by_a_flush() -> None:
    async def scenario() -> None:
        rig = Rig()
        rig.playout.begin(TurnId(1))
        async with Scope() as scope:
            filling = scope.start(rig.fill(TurnId(1), [(0, 40)] * 50), name="fill")
            await asyncio.sleep(1)
            assert not filling.done()
            rig.playout.flush()
            await asyncio.sleep(0.001)
            assert filling.done()

    run_virtual(scenario())
