"""Is what was said before said again at once, with the same words, in bounded memory?"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.core.audio import SpokenFrame
from voicestack.core.errors import StageUnavailable
from voicestack.engines.phrase_cache import MAX_CHARS, PhraseCache
from voicestack.engines.scripted import ScriptedTts
from voicestack.ports import SpeechRequest, Tts

MB = 1_000_000
NAMES = "abcdefghijklmnopqrst"


async def spoken(tts: Tts, text: str, voice: str = "default", speed: float = 1.0) -> list[SpokenFrame]:
    async with aclosing(tts.speak(SpeechRequest(text, voice, speed))) as frames:
        return [frame async for frame in frames]


def joined(frames: list[SpokenFrame]) -> str:
    return "".join(frame.text for frame in frames)


def pcm_of(frames: list[SpokenFrame]) -> list[int]:
    return [int(value) for frame in frames for value in frame.pcm]


def test_a_phrase_is_made_once() -> None:
    async def main() -> None:
        tts = ScriptedTts()
        cache = PhraseCache(tts, max_bytes=MB)
        assert cache.rate_hz == tts.rate_hz
        first = await spoken(cache, "Of course.")
        again = await spoken(cache, "Of course.")
        assert pcm_of(again) == pcm_of(first)
        assert [frame.text for frame in again] == [frame.text for frame in first]
        assert len(tts.requests) == 1
        assert cache.figures()["phrase_cache_hits_total"] == cache.figures()["phrase_cache_misses_total"] == 1

    asyncio.run(main())


def test_voice_speed_and_words_make_a_phrase() -> None:
    async def main() -> None:
        tts = ScriptedTts()
        cache = PhraseCache(tts, max_bytes=MB)
        for text, voice, speed in (
            ("Yes.", "a", 1.0),
            ("Yes.", "b", 1.0),
            ("Yes.", "a", 1.5),
            ("Yes,", "a", 1.0),
        ):
            await spoken(cache, text, voice, speed)
        assert len(tts.requests) == 4
        await spoken(cache, "Yes.", "b", 1.0)
        assert len(tts.requests) == 4

    asyncio.run(main())


@given(st.sampled_from(["", " ", "  ", "\n"]), st.sampled_from(["", " ", "\n"]), st.sampled_from(["", " "]))
@settings(max_examples=30, deadline=None)
def test_white_space_is_that_of_the_text(before: str, after: str, other: str) -> None:
    async def main() -> None:
        tts = ScriptedTts()
        cache = PhraseCache(tts, max_bytes=MB)
        assert joined(await spoken(cache, f"{before}Well, yes.{after}")) == f"{before}Well, yes.{after}"
        for text in (f"{other}Well, yes.{after}", f"{before}Well, yes.", "Well, yes."):
            assert joined(await spoken(cache, text)) == text
        assert len(tts.requests) == 1

    asyncio.run(main())


def test_the_least_recently_used_go_and_fixed_ones_stay() -> None:
    async def main() -> None:
        tts = ScriptedTts()
        size_bytes = 100_000
        cache = PhraseCache(tts, max_bytes=size_bytes, fixed=["Sorry."])
        await cache.warm()
        assert len(tts.requests) == 1
        for n in range(20):
            await spoken(cache, f"Phrase {NAMES[n]}.")
            await spoken(cache, "Phrase a.")
            assert cache.figures()["phrase_cache_bytes"] <= size_bytes
        assert cache.figures()["phrase_cache_evicted_total"] > 0
        n_made = len(tts.requests)
        assert n_made == 21
        await spoken(cache, "Sorry.")
        await spoken(cache, "Phrase a.")
        assert len(tts.requests) == n_made
        await spoken(cache, "Phrase b.")
        assert len(tts.requests) == n_made + 1

    asyncio.run(main())


def test_what_is_too_long_or_personal_or_too_large_is_not_kept() -> None:
    async def main() -> None:
        tts = ScriptedTts()
        long = "word " * (MAX_CHARS // 5) + "more."
        cache = PhraseCache(tts, max_bytes=MB)
        nothing = PhraseCache(tts, max_bytes=0)
        for one, text in (
            (cache, long),
            (cache, "Your code is 4711."),
            (nothing, "Yes."),
            (cache, ""),
            (cache, "  "),
        ):
            assert joined(await spoken(one, text)) == joined(await spoken(one, text)) == text
            assert one.figures()["phrase_cache_phrases"] == 0

    asyncio.run(main())


def test_a_fixed_phrase_may_be_long() -> None:
    async def main() -> None:
        tts = ScriptedTts()
        apology = "Sorry, I lost my train of thought. Could you say that again, please?"
        cache = PhraseCache(tts, max_bytes=MB, fixed=[apology, " "], voice="a")
        await cache.warm()
        await cache.warm()
        assert joined(await spoken(cache, apology, "a")) == apology
        assert len(tts.requests) == 1

    asyncio.run(main())


class Failing:
    """Breaks off in the middle."""

    rate_hz = 24_000

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        yield SpokenFrame(np.zeros(480, np.int16), request.text[:2])
        raise StageUnavailable("gone", stage="tts")


def test_what_broke_off_is_not_kept() -> None:
    async def main() -> None:
        cache = PhraseCache(Failing(), max_bytes=MB, fixed=["Sorry."])
        await cache.warm()
        with pytest.raises(StageUnavailable):
            await spoken(cache, "Yes.")
        assert cache.figures()["phrase_cache_phrases"] == 0

    asyncio.run(main())


def test_what_was_interrupted_is_not_kept_and_closes_the_engine() -> None:
    async def main() -> None:
        tts = ScriptedTts()
        cache = PhraseCache(tts, max_bytes=MB)
        async with aclosing(cache.speak(SpeechRequest("Of course."))) as frames:
            await anext(frames)
        assert tts.closed == tts.requests
        assert cache.figures()["phrase_cache_phrases"] == 0

    asyncio.run(main())
