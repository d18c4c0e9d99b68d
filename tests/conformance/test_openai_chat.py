"""The unmodified `openai` package asks for an answer in writing: whole, streaming, with functions."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.support.server import SCRIPTED, with_server
from voicestack.core.deadline import LIMIT_HEADER, TARGET_HEADER
from voicestack.core.history import Message
from voicestack.core.rungs import Rung
from voicestack.core.tools import ToolCall
from voicestack.engines.scripted import ScriptedAnswer, ScriptedLlm
from voicestack.ports import Llm, LlmDelta, LlmRequest
from voicestack.server import assembly

ANSWER = "It is quite simple, really."
HELLO = [{"role": "user", "content": "What is it?"}]
CALL = ToolCall("call_1", "look_up", '{"word": "sea"}')
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
LATE_MS = 3_000


def answer_to(messages: tuple[Message, ...]) -> ScriptedAnswer:
    return ("Let me see.", CALL) if "look it up" in messages[-1].text else ANSWER


class Told(ScriptedLlm):
    """Takes long to answer those who say so."""

    n_slow = 0

    async def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        if "slowly" in request.messages[-1].text:
            self.n_slow += 1
            await asyncio.sleep(LATE_MS / 1e3)
        async with aclosing(super().reply(request)) as deltas:
            async for delta in deltas:
                yield delta


def test_the_client_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    llm = Told(answer_to)

    def llm_of(config: object, clock: object) -> tuple[Llm, tuple[()]]:
        return llm, ()

    monkeypatch.setattr(assembly, "llm_of", llm_of)

    async def script(port: int) -> None:
        url = f"http://127.0.0.1:{port}/v1"
        with OpenAI(api_key="sk-local", base_url=url, max_retries=0) as client:
            for part in (whole_and_streaming, functions, wrong_requests, late_ones, too_many):
                await asyncio.to_thread(part, client, llm)

    with_server(script, sets=(*SCRIPTED, "stages.max_completions=2"), timeout_s=60)


def ask(client: OpenAI, **more: object) -> Any:
    """Ask for an answer."""
    how: dict[str, Any] = {"model": "any", "messages": HELLO} | more
    return client.chat.completions.create(**how)


def whole_and_streaming(client: OpenAI, llm: Told) -> None:
    before = len(llm.requests)
    whole = ask(client)
    assert (whole.object, whole.choices[0].message.content) == ("chat.completion", ANSWER)
    assert whole.choices[0].finish_reason == "stop"
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (3, 5)
    events = list(ask(client, stream=True, stream_options={"include_usage": True}))
    said = [choice.delta.content for event in events for choice in event.choices]
    assert "".join(text for text in said if text) == ANSWER
    assert events[0].choices[0].delta.role == "assistant"
    assert events[-2].choices[0].finish_reason == "stop"
    assert events[-1].usage.total_tokens == 8
    assert all(event.usage is None for event in ask(client, stream=True))
    short = ask(client, max_completion_tokens=2)
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 2)
    asked = llm.requests[before:]
    assert [one.messages[0].text for one in asked] == ["What is it?"] * 4
    assert {one.rung for one in asked} == {Rung.SHED}, "after those who are at home here"
    assert len({one.session for one in asked}) == 4
    ask(client, prompt_cache_key="talk-1")
    ask(client, prompt_cache_key="talk-1")
    assert llm.requests[-1].session == llm.requests[-2].session


def functions(client: OpenAI, llm: Told) -> None:
    wish = [{"role": "user", "content": [{"type": "text", "text": "Please look it up."}]}]
    whole = ask(client, messages=wish, tools=TOOLS, tool_choice="required")
    (call,) = whole.choices[0].message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", CALL.name, CALL.arguments)
    assert whole.choices[0].message.content == "Let me see."
    assert whole.choices[0].finish_reason == "tool_calls"
    assert llm.requests[-1].toolbox.choice.mode == "required"
    events = list(ask(client, messages=wish, tools=TOOLS, stream=True))
    choices = [choice for event in events for choice in event.choices]
    pieces = [piece for choice in choices for piece in choice.delta.tool_calls or ()]
    assert (pieces[0].id, pieces[0].function.name) == ("call_1", "look_up")
    assert "".join(piece.function.arguments for piece in pieces) == CALL.arguments
    assert choices[-1].finish_reason == "tool_calls"
    history = [
        {"role": "developer", "content": "Be brief."},
        *wish,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a body of water"},
    ]
    named = {"type": "function", "function": {"name": "look_up"}}
    ask(client, messages=history, tools=TOOLS, tool_choice=named)
    system, _, agent, tool = llm.requests[-1].messages
    assert (system.role, agent.role, agent.calls) == ("system", "agent", (CALL,))
    assert (tool.role, tool.text, tool.call_id) == ("tool", "a body of water", "call_1")
    assert llm.requests[-1].toolbox.choice.name == "look_up"


def wrong_requests(client: OpenAI, llm: Told) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    other = {"type": "function", "function": {"name": "other"}}
    wrong: list[tuple[dict[str, object], str, str]] = [
        ({"messages": []}, "invalid_value", "messages"),
        ({"messages": [{"role": "user", "content": [picture]}]}, "unsupported_value", "messages.0.content"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "invalid_value", "messages.0.role"),
        ({"n": 2}, "invalid_value", "n"),
        ({"tools": TOOLS, "tool_choice": other}, "invalid_value", "tool_choice"),
    ]
    n_before = len(llm.requests)
    for fields, code, param in wrong:
        with pytest.raises(openai.BadRequestError) as raised:
            ask(client, **fields)
        assert (raised.value.code, raised.value.param) == (code, param)
    assert len(llm.requests) == n_before


def late_ones(client: OpenAI, llm: Told) -> None:
    slowly = [{"role": "user", "content": "Answer slowly."}]
    for left_ms, stream in (("0", False), ("300", True), ("300", False)):
        began_s = time.monotonic()
        headers = {TARGET_HEADER: "-900", LIMIT_HEADER: left_ms}
        with pytest.raises(openai.InternalServerError) as raised:
            ask(client, messages=slowly, stream=stream, extra_headers=headers)
        assert (raised.value.status_code, raised.value.code) == (504, "deadline_exceeded")
        assert time.monotonic() - began_s < LATE_MS / 1e3, "dropped when its limit had passed"
    assert ask(client, extra_headers={LIMIT_HEADER: "9000"}).choices[0].message.content == ANSWER
    assert len(llm.closed) == len(llm.requests), "all of it has been stopped"


def too_many(client: OpenAI, llm: Told) -> None:
    slowly = [{"role": "user", "content": "Answer slowly."}]
    n_before = llm.n_slow
    threads = [threading.Thread(target=lambda: ask(client, messages=slowly)) for _ in range(2)]
    for thread in threads:
        thread.start()
    while llm.n_slow < n_before + 2:
        time.sleep(0.01)
    with pytest.raises(openai.InternalServerError) as raised:
        ask(client)
    for thread in threads:
        thread.join()
    assert (raised.value.status_code, raised.value.code) == (503, "overloaded")
    assert int(raised.value.response.headers["retry-after"]) >= 1
    assert ask(client).choices[0].message.content == ANSWER
    assert len(llm.closed) == len(llm.requests)
