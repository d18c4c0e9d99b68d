"""Which windows does nobody understand when there are too many? No process is started for this."""

import asyncio

import numpy as np
import pytest

from tests.support.hand_clock import HandClock
from voicestack.core.codel import Sojourn
from voicestack.core.errors import StageOverloaded
from voicestack.engines.whisper_model import WhisperSettings
from voicestack.engines.whisper_pool import WhisperPool
from voicestack.engines.whisper_window import Urgency, Window

MS = 1_000_000


def pool_with(open_windows: dict[Urgency, int], cost_s: float = 0.5) -> WhisperPool:
    """A pool that has so many windows open, each of which takes so long."""
    pool = WhisperPool(clock=HandClock(), settings=[WhisperSettings("none")], batch_max=4)
    pool.cost_s = cost_s
    (member,) = pool._members
    member.open.update(open_windows)
    member.n_open = sum(open_windows.values())
    return pool


def ask(pool: WhisperPool, urgency: Urgency, within_ms: int = 2_000) -> object:
    return asyncio.run(pool.understand(Window(np.zeros(160, np.int16), urgency, within_ms)))


def test_a_window_that_cannot_be_in_time_is_refused_at_once() -> None:
    pool = pool_with({Urgency.FINAL: 5})
    with pytest.raises(StageOverloaded, match="2500 ms; there are 2000"):
        ask(pool, Urgency.FINAL)
    with pytest.raises(StageOverloaded):
        ask(pool, Urgency.SETTLED)
    assert pool.queues()[0].refused["late"] == 2
    assert pool.queues()[0].n_waiting == 4


def test_less_urgent_windows_do_not_count_against_a_more_urgent_one() -> None:
    pool = pool_with({Urgency.FINAL: 1, Urgency.SETTLED: 9})
    with pytest.raises(StageOverloaded):
        ask(pool, Urgency.SETTLED)
    assert pool._turns_away(Window(np.zeros(160, np.int16), Urgency.FINAL, 2_000)) is False


def test_in_an_overload_partial_words_are_the_first_to_go() -> None:
    pool = pool_with({Urgency.FINAL: 1})
    pool._sojourn = Sojourn(pool._clock.now_ns() - 2_000 * MS)
    assert ask(pool, Urgency.PARTIAL) is None
    assert pool.queues()[0].refused["load"] == 1
    assert pool._turns_away(Window(np.zeros(160, np.int16), Urgency.FINAL, 2_000)) is False
    idle = pool_with({})
    idle._sojourn = pool._sojourn
    assert idle._turns_away(Window(np.zeros(160, np.int16), Urgency.PARTIAL, 2_000)) is False
