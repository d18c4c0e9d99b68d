"""What a language model has done before the first user asks it."""

import pytest

from tests.support.virtual_loop import run_virtual
from voicestack.core.errors import StageTimeout, StageUnavailable
from voicestack.core.ids import is_own
from voicestack.core.prompt_room import context_tokens_of
from voicestack.engines.scripted import ScriptedLlm
from voicestack.ports import LlmRequest
from voicestack.server.warm_up import Warmth, conversation, warm_up

ANSWER = "One, two, three, four, five."


def test_conversations_of_every_length_are_answered_and_one_answer_is_broken_off() -> None:
    llm = ScriptedLlm([ANSWER])
    run_virtual(warm_up(llm, "Be brief.", Warmth((0, 400))))
    sizes = [context_tokens_of(request.messages) for request in llm.requests]
    assert len(sizes) == 4
    assert sizes[0] < sizes[1] < 150
    assert 400 < sizes[2] < sizes[3] < 600
    assert all(request.draft for request in llm.requests)
    # The second prompt of a session goes on from the first, so that what the server kept of it is used.
    assert llm.requests[1].messages[: len(llm.requests[0].messages)] == llm.requests[0].messages
    assert all(is_own(request.session) for request in (*llm.requests, *llm.primes))


def test_every_place_gets_the_default_instructions_and_is_free_again() -> None:
    llm = ScriptedLlm([ANSWER])
    run_virtual(warm_up(llm, "Be brief.", Warmth(n_places=3)))
    assert [request.messages[0].text for request in llm.primes] == ["Be brief."] * 3
    assert len({request.session for request in llm.primes}) == 3
    assert set(llm.released) == {request.session for request in llm.primes}


def test_a_model_that_fails_has_not_been_warmed() -> None:
    class Gone(ScriptedLlm):
        async def prime(self, request: object) -> None:
            raise StageUnavailable("gone", stage="llm")

    llm = Gone([ANSWER])
    with pytest.raises(StageUnavailable):
        run_virtual(warm_up(llm, "Be brief.", Warmth((0,))))
    assert llm.released


def test_a_conversation_that_takes_too_long_is_left_out_and_so_are_longer_ones() -> None:
    class Slow(ScriptedLlm):
        async def prime(self, request: LlmRequest) -> None:
            if context_tokens_of(request.messages) > 300:
                raise StageTimeout("no token within 5000 ms", stage="llm")
            await super().prime(request)

    llm = Slow([ANSWER])
    run_virtual(warm_up(llm, "Be brief.", Warmth((0, 400, 800))))
    assert len(llm.requests) == 3  # two of the short conversation, one of the next
    assert llm.primes[-1].messages[-1].text == "Hello."


def test_a_conversation_has_the_length_that_was_asked_for() -> None:
    for n_tokens in (0, 100, 1000):
        messages = conversation("Be brief.", n_tokens, opening="Good morning.")
        assert n_tokens <= context_tokens_of(messages) < n_tokens + 120
        assert [messages[0].role, messages[-1].role] == ["system", "user"]
