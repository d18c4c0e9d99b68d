"""When do words of overlapping windows become certain, and where does the next window begin?"""

import pytest

from voicestack.core.heard import HeardWord
from voicestack.engines.agreement import CONTEXT_CHARS, Agreement, n_repeated


def spoken(text: str, start_s: float = 0.0) -> list[HeardWord]:
    """A word every half a second."""
    return [
        HeardWord(f" {word}", start_s + n / 2, start_s + n / 2 + 0.4, 0.9)
        for n, word in enumerate(text.split())
    ]


def test_a_word_is_agreed_when_it_is_heard_twice_and_is_not_at_the_edge() -> None:
    agreement = Agreement()
    agreement.hear(spoken("what is the"), 1.5)
    assert (agreement.sure, [word.text for word in agreement.open]) == ("", [" what", " is", " the"])
    agreement.hear(spoken("What is their whether"), 2.0)
    assert agreement.sure == "What is"
    agreement.hear(spoken("what's the weather"), 2.0)  # agreed words stay, also when they are heard otherwise
    assert agreement.sure == "What is"
    agreement.hear(spoken("what is the weather like"), 2.5)
    agreement.hear(spoken("what is the weather like"), 2.5)
    assert agreement.sure == "What is the weather"  # " like" ends 0.1 s before the sound does


@pytest.mark.parametrize(
    ("agreed", "heard", "n"),
    [
        ("", "what is", 0),
        ("what is", "what is the", 2),
        ("what is", "What, is the", 2),
        ("what is", "what was the", 2),  # heard differently: it replaces the old word
        ("what is", "is the", 1),  # the first one got lost
        ("what is", "so what is the", 3),
        ("yes", "yes yes", 1),
        ("what is", "", 0),
    ],
)
def test_where_the_new_words_begin(agreed: str, heard: str, n: int) -> None:
    assert n_repeated(spoken(agreed), spoken(heard)) == n


def agreed_on(text: str) -> tuple[Agreement, float]:
    agreement, words = Agreement(), spoken(text)
    end_s = words[-1].end_s + 1.0
    agreement.hear(words, end_s)
    agreement.hear(words, end_s)
    return agreement, end_s


def test_the_window_moves_up_to_the_end_of_a_sentence() -> None:
    agreement, end_s = agreed_on("It rains. What is")
    agreement.move_up(end_s, window_s=10.0)
    assert agreement.start_s == 0.0  # there is room
    agreement.move_up(end_s, window_s=2.5)
    assert agreement.start_s == pytest.approx(0.95)  # in the middle of the gap after "rains."
    assert agreement.context == "It rains."
    agreement.hear(spoken("What is the", 1.0), end_s)
    agreement.move_up(end_s, window_s=1.0)  # behind "rains." it would still be too long
    assert agreement.context == "It rains. What is"
    assert [word.text for word in agreement.words] == [" It", " rains.", " What", " is", " the"]


def test_without_a_sentence_the_window_moves_up_to_the_last_agreed_word() -> None:
    agreement, end_s = agreed_on("it rains what is")
    agreement.move_up(end_s, window_s=1.0)
    assert agreement.start_s == pytest.approx(1.9)
    assert agreement.context == "it rains what is"


def test_a_window_that_cannot_be_longer_is_torn_before_its_edge() -> None:
    agreement = Agreement()
    agreement.hear(spoken("one two three four five six"), 3.0)
    agreement.tear(3.0)
    assert agreement.sure == "one two three four"
    assert agreement.start_s == pytest.approx(1.95)
    silent = Agreement()
    silent.hear([], 28.0)
    silent.tear(28.0)
    assert silent.start_s == 28.0


def test_the_context_is_the_end_of_what_was_said() -> None:
    agreement, end_s = agreed_on(" ".join(f"word{n}" for n in range(200)))
    agreement.move_up(end_s, window_s=1.0)
    assert len(agreement.context) == CONTEXT_CHARS
    assert agreement.context.endswith("word199")
