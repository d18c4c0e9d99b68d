"""Whatever a recogniser makes of an utterance: words that were told stay, and end up as the final ones."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tests.support.realtime_check import check_server_frames, make_protocol
from voicestack.core.history import History
from voicestack.core.ids import UtteranceId
from voicestack.core.sure import SureWords
from voicestack.session.minutes import Minutes

WORD = st.sampled_from(["what", "is", "the", "time", "in", "iso"])
WORDS = st.lists(WORD, max_size=8).map(" ".join)


@st.composite
def kept_promises(draw: st.DrawFn) -> tuple[list[tuple[str, str]], str]:
    """Guesses of (text, sure) whose sure words stay in all that follow, and the final text."""
    final = draw(WORDS).split()
    cuts = sorted(draw(st.lists(st.integers(0, len(final)), max_size=6)))
    sure = [" ".join(final[:cut]) for cut in cuts]
    return [(f"{one} {draw(WORDS)}".strip(), one) for one in sure], " ".join(final)


@given(kept_promises())
def test_a_recogniser_that_keeps_its_word_is_told_as_it_is(said: tuple[list[tuple[str, str]], str]) -> None:
    guesses, final = said
    sure = SureWords()
    assert [sure.hear(one) for _, one in guesses] == [one for _, one in guesses]
    assert sure.end(final) == final


@given(st.lists(st.tuples(WORDS, WORDS), max_size=8), WORDS)
def test_what_is_told_is_a_beginning_of_the_final_words(guesses: list[tuple[str, str]], final: str) -> None:
    """Also with a recogniser that breaks its promise."""
    protocol = make_protocol()
    session = {"type": "transcription", "audio": {"input": {"transcription": {"model": "any"}}}}
    protocol.receive(orjson.dumps({"type": "session.update", "session": session}).decode())
    frames: list[bytes] = []
    history = History()
    minutes = Minutes(history, lambda note: frames.extend(protocol.tell(note)), lambda _: "item_1", 24_000)
    user = UtteranceId(1)
    minutes.user_started(user, 0)
    for text, sure in guesses:
        minutes.user_hearing(user, text, sure)
    minutes.user_stopped(user, 16_000)
    minutes.user_said(user, final, 16_000)
    events = check_server_frames(frames)  # the deltas are the transcript, see there
    (entry,) = history
    assert events[-1]["transcript"] == entry.text  # type: ignore[union-attr]
    n_sure = max((len(sure.split()) for _, sure in guesses), default=0)
    assert len(events[-1]["transcript"].split()) <= max(n_sure, len(final.split()))
