"""What does Whisper get asked about an utterance, when, and what is said of the answers?"""

import numpy as np
import pytest

from tests.support.speech import frames_of, hiss, silence
from voicestack.core.audio import EAR_RATE_HZ, Pcm
from voicestack.core.heard import HeardWord
from voicestack.engines.whisper_pace import Pace, PaceRules, mean_cost_s, pace
from voicestack.engines.whisper_utterance import MAX_SAMPLES, PRE_ROLL_SAMPLES, Ask, Say, Utterance, Wait
from voicestack.engines.whisper_window import Urgency
from voicestack.ports import Certainty

NOW = Pace(cadence_s=0.4, window_s=10.0)
SPEECH_DBFS = -20.0


def speech(ms: int) -> Pcm:
    return hiss(ms, SPEECH_DBFS)


def feed(utterance: Utterance, *sounds: Pcm) -> None:
    for frame in frames_of(np.concatenate(sounds)):
        utterance.hear(frame.pcm)


def asked(utterance: Utterance) -> Ask:
    step = utterance.next_step(NOW)
    assert isinstance(step, Ask)
    return step


def said(utterance: Utterance) -> tuple[Certainty, str]:
    step = utterance.next_step(NOW)
    assert isinstance(step, Say)
    return step.transcript.certainty, step.transcript.text


def words(text: str) -> tuple[HeardWord, ...]:
    """A word every half a second."""
    return tuple(HeardWord(f" {w}", n / 2, n / 2 + 0.4, 0.9) for n, w in enumerate(text.split()))


def test_partial_words_are_looked_for_at_the_cadence_and_one_at_a_time() -> None:
    utterance = Utterance()
    feed(utterance, speech(380))
    assert utterance.next_step(NOW) is Wait.FOR_MORE
    feed(utterance, speech(20))
    ask = asked(utterance)
    assert (ask.urgency, ask.start_sample, ask.end_sample) == (Urgency.PARTIAL, 0, 6400)
    assert len(utterance.window(ask)) == 6400
    feed(utterance, speech(1000))
    assert utterance.next_step(NOW) is Wait.FOR_MORE
    utterance.take(words("what"), NOW)
    assert said(utterance) == (Certainty.PARTIAL, "what")
    assert asked(utterance).end_sample == 1400 * 16
    utterance.take(None, NOW)  # nobody had the time for it
    assert utterance.next_step(NOW) is Wait.FOR_MORE


def test_silence_is_no_work() -> None:
    utterance = Utterance()
    feed(utterance, silence(3000))
    assert utterance.next_step(NOW) is Wait.FOR_MORE
    utterance.pause()
    assert said(utterance) == (Certainty.SETTLED, "")
    feed(utterance, speech(400))
    ask = asked(utterance)
    assert ask.end_sample - ask.start_sample == pytest.approx(PRE_ROLL_SAMPLES + 6400, abs=320)
    utterance.take(words("what"), NOW)
    assert said(utterance) == (Certainty.PARTIAL, "what")
    feed(utterance, silence(2000))
    assert utterance.next_step(NOW) is Wait.FOR_MORE


def test_final_words_are_the_settled_ones_when_nothing_follows() -> None:
    utterance = Utterance()
    feed(utterance, speech(900), silence(64))
    utterance.pause()
    assert asked(utterance).urgency is Urgency.SETTLED
    utterance.take(words("what time"), NOW)
    assert said(utterance) == (Certainty.SETTLED, "what time")
    feed(utterance, silence(420))
    assert utterance.next_step(NOW) is Wait.FOR_MORE
    utterance.end()
    assert said(utterance) == (Certainty.FINAL, "what time")
    assert utterance.is_over


@pytest.mark.parametrize("noise_dbfs", [-35.0, -50.0])
def test_neither_noise_nor_a_click_is_speech(noise_dbfs: float) -> None:
    utterance = Utterance()
    feed(utterance, speech(900), hiss(64, noise_dbfs, seed=1))
    utterance.pause()
    asked(utterance)
    utterance.take(words("what time"), NOW)
    said(utterance)
    feed(utterance, hiss(200, noise_dbfs, seed=2), hiss(20, -10), hiss(200, noise_dbfs, seed=3))
    utterance.end()
    assert said(utterance) == (Certainty.FINAL, "what time")


def test_the_end_waits_for_the_settled_words_that_are_on_their_way() -> None:
    utterance = Utterance()
    feed(utterance, speech(900), silence(64))
    utterance.pause()
    asked(utterance)
    feed(utterance, silence(420))
    utterance.end()
    assert utterance.next_step(NOW) is Wait.FOR_MORE
    utterance.take(words("what time"), NOW)
    assert [said(utterance), said(utterance)] == [
        (Certainty.SETTLED, "what time"),
        (Certainty.FINAL, "what time"),
    ]


def test_words_after_the_pause_are_looked_for_again() -> None:
    utterance = Utterance()
    feed(utterance, speech(900), silence(64))
    utterance.pause()
    asked(utterance)
    utterance.take(words("what time"), NOW)
    said(utterance)
    feed(utterance, silence(100), speech(300))
    utterance.end()
    ask = asked(utterance)
    assert (ask.urgency, ask.end_sample) == (Urgency.FINAL, utterance.end_sample)
    utterance.take(words("what time is"), NOW)
    assert said(utterance) == (Certainty.FINAL, "what time is")


def test_a_pause_takes_the_place_of_partial_words_and_a_newer_one_that_of_a_pause() -> None:
    utterance = Utterance()
    feed(utterance, speech(900))
    assert asked(utterance).urgency is Urgency.PARTIAL
    utterance.pause()
    first = asked(utterance)
    assert first.urgency is Urgency.SETTLED
    feed(utterance, speech(500))
    utterance.pause()
    second = asked(utterance)
    assert second.end_sample > first.end_sample
    utterance.take(words("what time"), NOW)
    assert [said(utterance), said(utterance)] == [(Certainty.SETTLED, "what time")] * 2
    assert utterance.next_step(NOW) is Wait.FOR_MORE


def test_two_pauses_in_one_silence_cost_one_window() -> None:
    utterance = Utterance()
    feed(utterance, speech(900))
    utterance.pause()
    asked(utterance)
    utterance.take(words("what"), NOW)
    said(utterance)
    feed(utterance, silence(300))
    utterance.pause()
    assert said(utterance) == (Certainty.SETTLED, "what")


def test_what_is_longer_than_a_window_is_understood_in_parts() -> None:
    utterance = Utterance()
    feed(utterance, speech(60_000))
    utterance.end()
    starts, ends = [], []
    while isinstance(step := utterance.next_step(NOW), Ask):
        starts.append(step.start_sample)
        ends.append(step.end_sample)
        assert len(starts) < 10, "it does not get on"
        assert step.end_sample - step.start_sample <= MAX_SAMPLES
        long_s = (step.end_sample - step.start_sample) / EAR_RATE_HZ
        utterance.take(words("word " * int(long_s * 2)), NOW)
    assert isinstance(step, Say)
    assert step.transcript.certainty is Certainty.FINAL
    assert len(step.transcript.text.split()) == 120
    assert len(starts) == 3
    assert ends[-1] == 60 * EAR_RATE_HZ
    placed = [word.start_s for word in step.transcript.words]
    assert placed == sorted(placed)
    assert placed[-1] == pytest.approx(59.5, abs=0.5)


@pytest.mark.parametrize(
    ("n_speaking", "cost_s", "cadence_s", "window_s"),
    [
        (0, 0.0, 0.4, 20.0),
        (1, 0.05, 0.4, 20.0),
        (1, 0.6, 1.2, 14.0),
        (30, 0.02, 1.2, 14.0),
        (100, 0.1, 2.0, 8.0),
    ],
)
def test_the_pace_is_what_the_load_leaves_room_for(
    n_speaking: int, cost_s: float, cadence_s: float, window_s: float
) -> None:
    rules = PaceRules(
        cadence_min_s=0.4, cadence_max_s=2.0, window_max_s=20.0, window_min_s=8.0, busy_ratio=0.5
    )
    found = pace(rules, n_speaking, cost_s)
    assert found.cadence_s == pytest.approx(cadence_s)
    assert found.window_s == pytest.approx(window_s)


def test_the_cost_follows_what_windows_cost() -> None:
    assert mean_cost_s(0.0, 0.3) == 0.3
    cost_s = 0.3
    for _ in range(20):
        cost_s = mean_cost_s(cost_s, 0.1)
    assert cost_s == pytest.approx(0.1, abs=0.005)
