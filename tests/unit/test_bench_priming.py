"""The arithmetic of the priming bench."""

import random
from itertools import pairwise

import pytest

from voicestack.cli.bench_priming import Run, conversation, figures, hidden_ratio
from voicestack.core.answers import LlmAnswer
from voicestack.core.notes import Usage
from voicestack.core.prompt_room import context_tokens_of


@pytest.mark.parametrize(
    ("cold_ms", "primed_ms", "floor_ms", "expected"),
    [
        (1000, 100, 100, 1.0),
        (1000, 325, 100, 0.75),
        (1000, 1000, 100, 0.0),
        (1000, 1200, 100, 0.0),
        (1000, 50, 100, 1.0),
        (100, 90, 100, None),
        (90, 90, 100, None),
    ],
)
def test_how_much_is_hidden(
    cold_ms: float, primed_ms: float, floor_ms: float, expected: float | None
) -> None:
    assert hidden_ratio(cold_ms, primed_ms, floor_ms) == expected


def test_conversations_are_long_enough_and_share_nothing() -> None:
    rng = random.Random(1)
    many = [conversation(rng, 600) for _ in range(20)]
    assert all(600 <= context_tokens_of(one) < 680 for one in many)
    assert all(one[0] != other[0] for one, other in pairwise(many))
    assert [message.role for message in many[0][:3]] == ["user", "agent", "user"]


def answer(first_ms: float, cached_tokens: int) -> LlmAnswer:
    return LlmAnswer("answered", False, "", first_ms, first_ms + 50, (), Usage(640, cached_tokens, 16), 16)


def test_the_figures_of_a_run() -> None:
    run = Run()
    run.answers["cold"] = [answer(2000, 30), answer(2100, 30)]
    run.answers["primed"] = [answer(300, 600), answer(320, 600)]
    run.answers["floor"] = [answer(100, 639)]
    found = figures(run)
    assert found["hidden_ratio"] == pytest.approx(1700 / 1900)
    assert found["cached_tokens_primed"].p50 == 600
    assert found["first_clause_ms"]["floor"].p50 == 150


def test_a_run_without_answers_hides_nothing() -> None:
    assert figures(Run())["hidden_ratio"] is None
