"""What items sounded like: whole or not at all, and never more than was allowed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestack.core.audio import Pcm
from voicestack.core.ids import ItemId, UtteranceId
from voicestack.session.sounds import Sounds

RATE_HZ = 1000
A, B, C = ItemId("a"), ItemId("b"), ItemId("c")


def pcm(n: int, value: int = 1) -> Pcm:
    return np.full(n, value, np.int16)


def kept(sounds: Sounds, name: ItemId) -> int | None:
    sound = sounds.of(name)
    return None if sound is None else len(sound.pcm)


def test_the_oldest_item_goes_and_does_not_come_back_without_its_beginning() -> None:
    sounds = Sounds(1.0)
    sounds.add(A, pcm(400), RATE_HZ)
    sounds.add(B, pcm(500), RATE_HZ)
    assert (kept(sounds, A), kept(sounds, B)) == (400, 500)
    sounds.add(B, pcm(200), RATE_HZ)
    sounds.add(A, pcm(100), RATE_HZ)
    assert (kept(sounds, A), kept(sounds, B)) == (None, 700)
    sounds.add(C, pcm(1001), RATE_HZ)
    sounds.add(C, pcm(1), RATE_HZ)
    assert [kept(sounds, name) for name in (A, B, C)] == [None, None, None]
    assert sounds.kept_s == 0


def test_what_was_not_heard_goes() -> None:
    sounds = Sounds(1.0)
    sounds.add(A, pcm(300, 1), RATE_HZ)
    sounds.add(A, pcm(300, 2), RATE_HZ)
    sounds.cut(A, 450.0)
    sound = sounds.of(A)
    assert sound is not None
    assert list(sound.pcm) == [1] * 300 + [2] * 150
    assert sounds.kept_s == pytest.approx(0.45)
    sounds.cut(A, 9999)
    assert kept(sounds, A) == 450
    sounds.cut(B, 5)


def test_an_utterance_becomes_an_item() -> None:
    sounds = Sounds(1.0)
    sounds.add(UtteranceId(1), pcm(100), RATE_HZ)
    sounds.rename(UtteranceId(1), A)
    assert kept(sounds, A) == 100
    sounds.forget(A)
    assert kept(sounds, A) is None
    sounds.add(UtteranceId(2), pcm(2000), RATE_HZ)
    sounds.rename(UtteranceId(2), B)
    sounds.add(B, pcm(10), RATE_HZ)
    assert kept(sounds, B) is None, "its beginning is gone"


def test_none_are_kept_unless_the_operator_wants_it() -> None:
    sounds = Sounds(0)
    sounds.add(A, pcm(1), RATE_HZ)
    assert sounds.of(A) is None


STEPS = st.tuples(st.sampled_from(["add", "cut", "forget"]), st.sampled_from([A, B, C]), st.integers(0, 1500))


@given(st.lists(STEPS, max_size=30))
def test_never_more_than_was_allowed(steps: list[tuple[str, ItemId, int]]) -> None:
    sounds = Sounds(1.0)
    for what, name, n in steps:
        match what:
            case "add":
                sounds.add(name, pcm(n), RATE_HZ)
            case "cut":
                sounds.cut(name, n)
            case _:
                sounds.forget(name)
        total = sum(kept(sounds, one) or 0 for one in (A, B, C))
        assert total <= 1000
        assert abs(sounds.kept_s - total / 1000) < 1e-9
