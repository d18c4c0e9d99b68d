"""Whatever a replica answers, an engine says so with a StageError, and soon. Over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.speech import frames_of, hiss
from voicestack.aio.clock import SystemClock
from voicestack.cli.fault_cells import GARBAGE, says
from voicestack.cli.fault_proxy import Fault, FaultProxy
from voicestack.core.audio import AudioFrame
from voicestack.core.errors import StageError, StageRejected, StageUnavailable
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.tools import NO_TOOLS, Tool, Toolbox
from voicestack.engines import sse
from voicestack.engines.chat_body import LlmSettings, TextReader
from voicestack.engines.chat_event import chat_event
from voicestack.engines.native_calls import NativeReader
from voicestack.engines.openai_asr import ListeningServer, OpenAiAsr
from voicestack.engines.openai_llm import OpenAiLlm
from voicestack.engines.openai_tts import OpenAiTts, SpeechServer
from voicestack.ports import LlmRequest, Pause, SpeechRequest

LIMIT_S = 20.0
SSE = b"text/event-stream"
NOBODY = "http://127.0.0.1:9"
"""The proxy answers itself; nobody need be behind it."""
TALK = hiss(600, -20)
TOOLS = Toolbox((Tool("look_up", "Look it up.", {}),))


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A server that says this to everything."""
    async with asyncio.timeout(LIMIT_S), FaultProxy(NOBODY) as proxy:
        await proxy.become(Fault(answer=answer))
        yield proxy.url


async def written(url: str, toolbox: Toolbox = NO_TOOLS) -> str:
    llm = OpenAiLlm(url, "m", clock=SystemClock(), settings=LlmSettings(first_token_ms=10_000))
    request = LlmRequest(SessionId("s"), TurnId(1), (Message("user", "Hello?"),), toolbox=toolbox)
    try:
        async with aclosing(llm.reply(request)) as deltas:
            return "".join([delta.text async for delta in deltas])
    finally:
        await llm.close()


async def heard(url: str) -> str:
    async def sounds() -> AsyncIterator[AudioFrame | Pause]:
        for frame in frames_of(TALK):
            yield frame

    asr = OpenAiAsr(url, ListeningServer("m", deadline_ms=10_000))
    try:
        async with aclosing(asr.transcribe(sounds())) as transcripts:
            return [transcript.text async for transcript in transcripts][-1]
    finally:
        await asr.close()


async def spoken(url: str) -> int:
    tts = OpenAiTts(url, SpeechServer("m", "alloy", first_ms=10_000, gap_ms=10_000))
    try:
        async with aclosing(tts.speak(SpeechRequest("Good morning."))) as frames:
            return sum([len(frame.pcm) async for frame in frames])
    finally:
        await tts.close()


@pytest.mark.parametrize(
    ("stage", "n"), [(stage, n) for stage in GARBAGE for n in range(len(GARBAGE[stage]))]
)
def test_garbage_is_a_stage_error(stage: str, n: int) -> None:
    use = {"asr": heard, "llm": written, "tts": spoken}[stage]

    async def main() -> None:
        async with answering(GARBAGE[stage][n]) as url:
            with pytest.raises(StageError) as caught:
                await use(url)
            assert caught.value.stage == stage

    asyncio.run(main())


def events(*values: Any) -> bytes:
    return says(b"".join(b"data: %s\n\n" % json.dumps(value).encode() for value in values), SSE)


def choice(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


WRONG: list[Any] = [
    [],
    {"choices": {"delta": {}}},
    {"choices": ["hello"]},
    {"choices": [{"delta": "hello"}]},
    {"choices": [{"delta": {}, "finish_reason": 3}]},
    choice(content=["hello"]),
    choice(tool_calls="look_up"),
    choice(tool_calls=[None]),
    choice(tool_calls=[{"index": "0"}]),
    choice(tool_calls=[{"function": ["look_up"]}]),
    choice(tool_calls=[{"function": {"name": "look_up", "arguments": {"a": 1}}}]),
    {"usage": 7},
    {"usage": {"prompt_tokens": "7"}},
    {"usage": {"prompt_tokens_details": [7]}},
    {"prompt_progress": {"total": "7"}},
]


@pytest.mark.parametrize("event", WRONG, ids=map(str, range(len(WRONG))))
def test_an_event_of_the_wrong_shape_is_a_stage_error(event: Any) -> None:
    async def main() -> None:
        async with answering(events(choice(content="Yes, "), event)) as url:
            for toolbox in (NO_TOOLS, TOOLS):
                with pytest.raises(StageUnavailable, match="not an event"):
                    await written(url, toolbox)

    asyncio.run(main())


def test_what_may_be_null_may_be_null() -> None:
    fine = [
        {"choices": None, "usage": None, "prompt_progress": None},
        {"choices": [{"delta": None}]},
        choice(content=None, tool_calls=None, role="assistant"),
        choice(content="Yes."),
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": None, "prompt_tokens_details": {"cached_tokens": None}}},
    ]

    async def main() -> None:
        async with answering(events(*fine)) as url:
            assert await written(url) == "Yes."

    asyncio.run(main())


def test_a_server_that_never_ends_a_line_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1_000)

    async def main() -> None:
        async with answering(says(b"data: " + bytes(100_000), SSE)) as url:
            with pytest.raises(StageUnavailable, match="no events"):
                await written(url)

    asyncio.run(main())


@pytest.mark.parametrize("begin", [b"RIFF\x24\x00", b"OggS", b"<!DOCTYPE html>", b'{"error": 1}', b"ID3\x03"])
def test_a_file_is_not_played_as_samples(begin: bytes) -> None:
    async def main() -> None:
        async with answering(says(begin + bytes(range(256)) * 100, b"audio/pcm")) as url:
            with pytest.raises(StageRejected, match="a file"):
                await spoken(url)

    asyncio.run(main())


KEYS: Sequence[str] = (
    *("choices", "delta", "content", "tool_calls", "function", "name", "arguments", "index", "id"),
    *("finish_reason", "usage", "prompt_tokens", "prompt_tokens_details", "cached_tokens", "prompt_progress"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=300)
@given(JSON)
def test_no_event_makes_anybody_stumble(value: Any) -> None:
    """What passes can be read as `OpenAiLlm` reads it."""
    try:
        event = chat_event(json.dumps(value).encode())
    except StageUnavailable:
        return
    if event.get("error"):
        return
    usage = sse.usage_of(event)
    assert usage is None or usage.input_tokens + usage.cached_tokens + usage.output_tokens >= 0
    for one in event.get("choices", ()):
        delta = one.get("delta") or {}
        readers = TextReader(), NativeReader(TOOLS.tools, stop=("\n",), max_pieces=3)
        for reader in readers:
            with suppress(StageError):
                assert all(isinstance(piece.text, str) for piece in reader.push(delta))
