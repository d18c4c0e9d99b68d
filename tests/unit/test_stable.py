"""Words that are told are never taken back, and together with the rest they are the final words."""

from hypothesis import example, given
from hypothesis import strategies as st

from voicestack.realtime.stable import N_AGREEING, N_HELD_BACK, StableWords

WORDS = st.lists(st.sampled_from(["what", "is", "the", "time", "in"]), max_size=8).map(" ".join)


def told(guesses: list[str], final: str) -> tuple[str, str]:
    stable = StableWords()
    before = "".join([stable.guess(guess) for guess in guesses])
    return before, before + stable.end(final)


@given(st.lists(WORDS, max_size=12), WORDS)
@example([], "")
def test_what_is_told_is_a_beginning_of_the_final_words_or_stops(guesses: list[str], final: str) -> None:
    before, after = told(guesses, final)
    assert after.startswith(before)
    assert before == before.strip()
    if final.split()[: len(before.split())] == before.split():
        assert after == " ".join(final.split())
    else:
        assert after == before, "nothing is added to what turned out wrong"


def test_a_growing_guess_is_told_word_by_word_and_late() -> None:
    words = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]
    stable = StableWords()
    n_told = 0
    for n in range(1, len(words) + 1):
        n_told += len(stable.guess(" ".join(words[:n])).split())
        assert n_told == max(0, n - max(N_HELD_BACK, N_AGREEING - 1))
    assert stable.end(" ".join(words)) == " " + " ".join(words[n_told:])


def test_a_word_that_changes_is_not_told() -> None:
    stable = StableWords()
    for last in ("wreck", "recognise", "wreck a", "recognise speech today", "recognise speech to day"):
        assert stable.guess(f"{last} now and then") == ""
