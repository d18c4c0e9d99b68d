"""Which words of a user who still speaks are worth to be read ahead?"""

import pytest

from tests.support.virtual_loop import run_virtual
from voicestack.aio.scope import Scope
from voicestack.core.ids import UtteranceId
from voicestack.core.sure import agreed
from voicestack.engines.scripted import ScriptedLlm
from voicestack.session.primer import Primer


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ("", "what is", ""),
        ("what is", "what is the", "what is"),
        ("what is the", "what is that then", "what is"),
        ("what is", "watt is", ""),
        ("what is the time", "what is", "what is"),
        ("what  is", "what is", "what is"),
    ],
)
def test_what_two_guesses_agree_on(earlier: str, later: str, expected: str) -> None:
    assert agreed(earlier, later) == expected


def steady(*guesses: tuple[int, str, str]) -> list[str | None]:
    async def main() -> list[str | None]:
        async with Scope() as scope:
            primer = Primer(ScriptedLlm(["Yes."]), scope)
            return [primer.steady(UtteranceId(number), text, sure) for number, text, sure in guesses]

    return run_virtual(main())


def test_only_what_is_steady_and_new_is_read() -> None:
    found = steady((1, "what", ""), (1, "what is", ""), (1, "what is", ""), (1, "what is the", ""))
    assert found == [None, "what", "what is", None]


def test_what_the_recogniser_is_sure_of_is_steady_at_once() -> None:
    assert steady((1, "what is", "what is"), (1, "what is the", "what")) == ["what is", None]


def test_an_utterance_knows_nothing_of_the_one_before() -> None:
    assert steady((1, "yes", ""), (1, "yes", ""), (2, "yes", ""), (2, "yes", "")) == [
        None,
        "yes",
        None,
        "yes",
    ]


def test_words_that_are_taken_back_are_read_again_from_where_they_differ() -> None:
    found = steady((1, "a big cat", ""), (1, "a big cat", ""), (1, "a pig", ""), (1, "a pig sat", ""))
    assert found == [None, "a big cat", "a", "a pig"]
