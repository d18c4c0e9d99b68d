"""Openers and remembered answers as a configuration makes them, with real llama-servers."""

import asyncio
import os
import signal
from contextlib import aclosing, suppress

import pytest

from tests.support.trails import Trail
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.config.load import load
from voicestack.core.errors import ConfigError
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.notes import Usage
from voicestack.core.phrases import Phrases, speakable
from voicestack.core.rungs import Rung
from voicestack.engines.child import Child
from voicestack.fleet.answers import AnswersLlm
from voicestack.fleet.inner_ways import ways_of
from voicestack.fleet.opener import OpenerLlm
from voicestack.ports import Llm, LlmRequest, SpeechRequest
from voicestack.server import assembly_rungs
from voicestack.server.assembly import Assembly, assemble
from voicestack.server.supervised import Supervised
from voicestack.session.reply import FIRST_WORDS

LIMIT_S = 120.0
KNOWN = 'answers.known={"what are your opening hours" = "We are open from nine to five, every day."}'
ASKED = (
    Message("system", "You are a friendly assistant. Answer in one short sentence."),
    Message("user", "Why is the sea salty?"),
)


def made(profile: str, *sets: str) -> Assembly:
    return assemble(load(profile, env={}, sets=sets).config, SystemClock())


def part(assembly: Assembly, name: str) -> Supervised:
    return next(one for one in assembly.supervised if one.name == name)


def child_of(assembly: Assembly, name: str) -> Child:
    (child,) = part(assembly, name).processes()
    assert isinstance(child, Child)
    return child


def request_for(*messages: Message, rung: Rung = Rung.FULL) -> LlmRequest:
    return LlmRequest(SessionId("s1"), TurnId(1), messages, rung=rung, scope="acme")


async def said(llm: Llm, request: LlmRequest) -> str:
    async with asyncio.timeout(LIMIT_S), aclosing(llm.reply(request)) as deltas:
        return "".join([delta.text async for delta in deltas])


def test_a_second_llama_server_opens_while_the_first_is_stuck() -> None:
    async def main() -> None:
        assembly, trail = made("embedded", "opener.engine=llama_server", "llm.first_token_ms=60000"), Trail()
        llm = assembly.engines.llm
        assert isinstance(llm, OpenerLlm)
        async with asyncio.timeout(LIMIT_S), Scope() as scope:
            for name in ("llama-server", "opener"):
                scope.start(part(assembly, name).run(), name=name)
                await child_of(assembly, name).ready(60_000_000_000)
            await llm.prime(request_for(*ASKED))
            big = child_of(assembly, "llama-server").pid
            assert big is not None
            opened = LlmRequest(
                SessionId("s1"), TurnId(1), ASKED, rung=Rung.SMALL_OPENER, trail=trail, max_tokens=60
            )
            async with aclosing(llm.reply(opened)) as deltas:
                os.kill(big, signal.SIGSTOP)
                try:
                    opener = (await anext(deltas)).text
                finally:
                    os.kill(big, signal.SIGCONT)
                rest = [delta async for delta in deltas]
            assert 0 < len(opener.split()) <= 8
            text = "".join(delta.text for delta in rest)
            assert text.startswith(" "), "it goes on"
            assert opener.lower() not in text.lower()
            assert [use.won for use in trail.uses if use.replica == "opener"] == [True]
            usage = rest[-1].usage or Usage()
            assert usage.cached_tokens > 20, "the prompt had been computed"
        await assembly.close()

    asyncio.run(main())


def test_known_answers_are_there_with_their_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly_rungs, "FIRST_S", 0.0)

    async def main() -> None:
        assembly = made("scripted", "answers.mode=rung", KNOWN)
        engines, config = assembly.engines, load("scripted", env={}, sets=()).config
        assert isinstance(engines.llm, AnswersLlm)
        system = Message("system", config.session.instructions)
        asked = request_for(system, Message("user", "What are your opening hours?"), rung=Rung.CACHED)
        assert await said(engines.llm, asked) == "We are open from nine to five, every day."
        assert Rung.CACHED in [way.rung for way in ways_of(engines.llm).ways(asked)]
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await part(assembly, "known-answers").run()
        phrases = Phrases(first_words=FIRST_WORDS)
        cut = [*phrases.push(await said(engines.llm, asked)), *phrases.end()]
        for phrase in cut:
            async with aclosing(engines.tts.speak(SpeechRequest(speakable(phrase)))) as frames:
                assert [frame async for frame in frames]
        figures = engines.tts.figures()  # type: ignore[attr-defined]
        assert (figures["phrase_cache_hits_total"], figures["phrase_cache_misses_total"]) == (len(cut), 0)
        forecaster = engines.forecaster
        assert forecaster is not None
        rungs = {forecast.rung for forecast in forecaster.forecasts(asked, None)}
        assert {Rung.FULL, Rung.CACHED} <= rungs
        await assembly.close()

    asyncio.run(main())


def test_without_them_nothing_stands_before_the_fleet() -> None:
    assembly = made("scripted")
    assert assembly.engines.llm is assembly.fleet.llm
    assert assembly.engines.tts is assembly.fleet.tts
    asyncio.run(assembly.close())


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        (("opener.engine=openai",), "opener.url is needed when opener.engine is 'openai'"),
        (('answers.known={"?" = "x"}',), "answers.known"),
        (('answers.known={"x" = ""}',), "answers.known"),
        (("answers.mode=sometimes",), "answers.mode"),
        (("opener.engine=llama_server", "opener.model=/nowhere.gguf"), "/nowhere.gguf"),
    ],
)
def test_mistakes_are_told_at_start(sets: tuple[str, ...], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        made("scripted", *sets)
