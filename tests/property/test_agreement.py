"""Whatever is made of windows that overlap: agreed words stay, were heard twice, and the window is short."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.core.heard import HeardWord, sentence
from voicestack.engines.agreement import EDGE_S, Agreement, n_repeated, same

WORD_S = 0.3
MAX_S = 10.0
WORD = st.sampled_from(["what", "is", "the", "time", "in", "iso", "Time.", "is,"])
SPEECH = st.lists(WORD, min_size=1, max_size=60)
STEPS = st.lists(st.floats(0.05, 3.0), min_size=1, max_size=25)


def heard(speech: Sequence[str], start_s: float, end_s: float) -> list[HeardWord]:
    """What a perfect recogniser hears of speech with a word every WORD_S."""
    return [
        HeardWord(f" {word}", n * WORD_S, (n + 1) * WORD_S, 1.0)
        for n, word in enumerate(speech)
        if n * WORD_S >= start_s - WORD_S / 2 and (n + 1) * WORD_S <= end_s + 1e-6
    ]


@st.composite
def misheard(draw: st.DrawFn, words: Sequence[HeardWord]) -> list[HeardWord]:
    """The words with some changed, left out or said twice."""
    found: list[HeardWord] = []
    for word in words:
        match draw(st.integers(0, 9)):
            case 0:
                found.append(HeardWord(f" {draw(WORD)}", word.start_s, word.end_s, 0.5))
            case 1:
                continue
            case 2:
                found += [word, word]
            case _:
                found.append(word)
    return found


def texts(words: Sequence[HeardWord]) -> list[str]:
    return [word.text for word in words]


def holds(words: Sequence[HeardWord], part: Sequence[HeardWord]) -> bool:
    """Whether `part` is heard in `words`, one word after the other."""
    n = len(part)
    return any(
        all(same(one.text, other.text) for one, other in zip(words[at : at + n], part, strict=True))
        for at in range(len(words) - n + 1)
    )


@settings(deadline=None, max_examples=60)
@given(SPEECH, STEPS, st.data())
def test_agreed_words_stay_and_were_heard_twice(
    speech: list[str], steps: list[float], data: st.DataObject
) -> None:
    agreement = Agreement()
    end_s = 0.0
    before: list[HeardWord] = []
    for step_s in steps:
        end_s += step_s
        words = data.draw(misheard(heard(speech, agreement.start_s, end_s)))
        kept = list(agreement.agreed)
        agreement.hear(words, end_s)
        new = agreement.agreed[len(kept) :]
        assert agreement.agreed[: len(kept)] == kept
        assert holds(words, new)
        assert holds(before, new)
        assert all(word.end_s <= end_s - EDGE_S for word in new)
        assert sentence(agreement.words).startswith(agreement.sure)
        agreement.move_up(end_s, MAX_S / 2)
        for _ in range(2):  # behind the words, and where none follow them, behind the silence
            if end_s - agreement.start_s >= MAX_S:
                agreement.tear(end_s)
                assert agreement.agreed[: len(kept)] == kept
        assert end_s - agreement.start_s < MAX_S
        before = words


@settings(deadline=None, max_examples=60)
@given(SPEECH, STEPS, st.floats(2.0, 8.0))
def test_what_is_heard_well_is_agreed_and_told_once(
    speech: list[str], steps: list[float], window_s: float
) -> None:
    agreement = Agreement()
    end_s = 0.0
    for step_s in steps:
        end_s += step_s
        for _ in range(2):
            agreement.hear(heard(speech, agreement.start_s, end_s), end_s)
        agreement.move_up(end_s, window_s)
        assert texts(agreement.words) == texts(heard(speech, 0.0, end_s))
        spoken_s = min(end_s, len(speech) * WORD_S)
        assert spoken_s - agreement.start_s <= window_s + WORD_S + EDGE_S


@settings(deadline=None, max_examples=60)
@given(SPEECH, st.data())
def test_agreed_words_are_found_again_however_they_are_heard(speech: list[str], data: st.DataObject) -> None:
    words = heard(speech, 0.0, len(speech) * WORD_S)
    n_agreed = data.draw(st.integers(0, len(words)))
    assert 0 <= n_repeated(words[:n_agreed], data.draw(misheard(words))) <= 2 * len(words)
    # Nothing but case and punctuation differs: exactly they are found.
    shouted = [HeardWord(f"{word.text.upper()},", word.start_s, word.end_s, 1.0) for word in words]
    assert n_repeated(words[:n_agreed], shouted) == n_agreed
