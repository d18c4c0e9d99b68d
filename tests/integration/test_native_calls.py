"""Function calls in the shapes in which servers stream them, over real sockets.

The shapes: vLLM (name and id first, arguments in pieces; whole calls at once for some parsers; several
calls), servers that tell the id late or never, and proxies that number every call 0.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.test_openai_llm import (
    DONE,
    HEAD,
    REQUEST,
    SETTINGS,
    Peer,
    collect,
    event,
    finish,
    serving,
    text,
    whole,
)
from voicestack.core.history import Message
from voicestack.core.tools import CallDelta, Tool, Toolbox, ToolCall, ToolChoice
from voicestack.engines.tool_calls import ToolCallInvalid
from voicestack.ports import LlmDelta, LlmRequest

WEATHER = Tool(
    "get_weather",
    "Get the weather.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
TIME = Tool("get_time", "Tell the time.")
WITH_TOOLS = replace(REQUEST, toolbox=Toolbox((WEATHER, TIME)))


def call(
    index: int, arguments: str | None = None, *, name: str | None = None, call_id: str | None = None
) -> bytes:
    piece: dict[str, Any] = {"index": index, "function": {}}
    if arguments is not None:
        piece["function"]["arguments"] = arguments
    if name:
        piece["function"]["name"] = name
    if call_id:
        piece |= {"id": call_id, "type": "function"}
    return event(choices=[{"index": 0, "delta": {"tool_calls": [piece]}, "finish_reason": None}])


async def answered(
    parts: Sequence[bytes], request: LlmRequest = WITH_TOOLS, *, stop: tuple[str, ...] = ()
) -> tuple[list[LlmDelta], list[dict[str, Any]]]:
    """What becomes of an answer, and the bodies of the requests for it."""
    bodies: list[dict[str, Any]] = []

    async def play(peer: Peer) -> None:
        bodies.append(peer.body)
        await peer.send(HEAD, *parts, DONE)

    async with serving(play, replace(SETTINGS, stop=stop)) as llm:
        return await whole(llm, request), bodies


def joined(deltas: list[LlmDelta]) -> list[ToolCall]:
    calls: dict[int, ToolCall] = {}
    for piece in (delta.call for delta in deltas if delta.call):
        so_far = calls.get(piece.index, ToolCall(piece.call_id, piece.name))
        assert (so_far.call_id, so_far.name) == (piece.call_id, piece.name)
        calls[piece.index] = replace(so_far, arguments=so_far.arguments + piece.arguments)
    return [calls[n] for n in sorted(calls)]


PARIS = ToolCall("c1", "get_weather", '{"city": "Paris"}')
SHAPES = {
    "arguments in pieces": [
        call(0, "", name="get_weather", call_id="c1"),
        call(0, '{"city": '),
        call(0, '"Paris"}'),
    ],
    "all at once": [call(0, '{"city": "Paris"}', name="get_weather", call_id="c1")],
    "the id comes late": [
        call(0, '{"city": ', name="get_weather"),
        call(0, '"Pa'),
        call(0, 'ris"}', call_id="c1"),
    ],
    "arguments before the name": [call(0, '{"city": "Paris"}', call_id="c1"), call(0, name="get_weather")],
    "the name in every piece": [
        call(0, '{"city": ', name="get_weather", call_id="c1"),
        call(0, '"Paris"}', name="get_weather", call_id="c1"),
    ],
    "null for nothing": [
        event(choices=[{"index": 0, "delta": {"role": "assistant", "content": None, "tool_calls": None}}]),
        call(0, '{"city": "Paris"}', name="get_weather", call_id="c1"),
        event(choices=[{"index": 0, "delta": {"content": ""}, "finish_reason": None}]),
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reason", ["tool_calls", "stop"])  # a named call ends with `stop` in some servers
def test_a_call_in_every_shape(shape: str, reason: str) -> None:
    deltas, _ = asyncio.run(answered([*SHAPES[shape], finish(reason)]))
    assert joined(deltas) == [PARIS]
    assert not deltas[-1].truncated


def test_arguments_are_passed_on_while_they_come() -> None:
    shown = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.send(HEAD, call(0, '{"city"', name="get_weather", call_id="c1"), call(0, ': "Par'))
        await asyncio.wait_for(shown.wait(), 5)
        await peer.send(call(0, 'is"}'), finish("tool_calls"), DONE)

    async def main() -> list[LlmDelta]:
        got: list[LlmDelta] = []
        async with serving(play) as llm:
            answer = llm.reply(WITH_TOOLS)
            got.append(await anext(answer))  # the server has not sent the rest yet
            shown.set()
            got += [delta async for delta in answer]
        return got

    deltas = asyncio.run(main())
    assert deltas[0].call == CallDelta(0, "c1", "get_weather", '{"city"')
    assert joined(deltas) == [PARIS]


def test_several_calls_and_words_before_them() -> None:
    deltas, _ = asyncio.run(
        answered(
            [
                text("One moment."),
                call(0, '{"city": "Rome"}', name="get_weather", call_id="a"),
                call(1, "", name="get_time", call_id="b"),
                call(2, '{"city": ', name="get_weather", call_id="c"),
                call(2, '"Oslo"}'),
                finish("tool_calls"),
            ]
        )
    )
    assert deltas[0] == LlmDelta("One moment.")
    assert joined(deltas) == [
        ToolCall("a", "get_weather", '{"city": "Rome"}'),
        ToolCall("b", "get_time", "{}"),
        ToolCall("c", "get_weather", '{"city": "Oslo"}'),
    ]


def test_calls_that_share_a_place_are_told_by_their_ids() -> None:
    parts = [
        call(0, '{"city": "Rome"}', name="get_weather", call_id="a"),
        call(0, '{"city": "Oslo"}', name="get_weather", call_id="b"),
    ]
    deltas, _ = asyncio.run(answered([*parts, finish("tool_calls")]))
    assert [(one.call_id, one.arguments) for one in joined(deltas)] == [
        ("a", '{"city": "Rome"}'),
        ("b", '{"city": "Oslo"}'),
    ]


def test_a_call_without_an_id_gets_one() -> None:
    deltas, _ = asyncio.run(answered([call(0, '{"city": "Rome"}', name="get_weather"), finish("stop")]))
    (made,) = joined(deltas)
    assert made.call_id.startswith("call_")


BAD_CALLS = {
    "no JSON": '{"city": "Rome"',
    "no object": '"Rome"',
    "against the schema": '{"city": 5}',
    "something missing": "{}",
}


@pytest.mark.parametrize("arguments", BAD_CALLS.values(), ids=BAD_CALLS)
def test_an_invalid_call_is_tried_once_more_while_nobody_has_heard_of_it(arguments: str) -> None:
    bodies: list[dict[str, Any]] = []

    async def play(peer: Peer) -> None:
        bodies.append(peer.body)
        better = arguments if len(bodies) == 1 else '{"city": "Rome"}'
        await peer.send(HEAD, call(0, better, name="get_weather", call_id="a"), finish("tool_calls"), DONE)

    async def main() -> list[LlmDelta]:
        async with serving(play, replace(SETTINGS, temperature=0.0)) as llm:
            return await whole(llm, WITH_TOOLS)

    assert joined(asyncio.run(main())) == [ToolCall("a", "get_weather", '{"city": "Rome"}')]
    assert [body["temperature"] for body in bodies] == [0.0, 0.5]  # greedy, it would say the same again


def test_two_invalid_calls_are_an_error() -> None:
    with pytest.raises(ToolCallInvalid, match="'fly', which was not offered"):
        asyncio.run(answered([call(0, "{}", name="fly", call_id="a"), finish("tool_calls")]))


def test_an_invalid_call_after_words_is_an_error_at_once() -> None:
    bodies: list[dict[str, Any]] = []

    async def play(peer: Peer) -> None:
        bodies.append(peer.body)
        await peer.send(HEAD, text("Well."), call(0, '{"city": 5}', name="get_weather", call_id="a"))
        await peer.send(finish("tool_calls"), DONE)

    async def main() -> list[LlmDelta]:
        got: list[LlmDelta] = []
        async with serving(play) as llm:
            with pytest.raises(
                ToolCallInvalid, match=r"get_weather break its schema: type at \$\.city"
            ) as caught:
                await collect(llm, got, WITH_TOOLS)
        assert caught.value.code == "tool_call_invalid"
        return got

    assert asyncio.run(main()) == [LlmDelta("Well.")]
    assert len(bodies) == 1


def test_no_call_where_one_is_required_is_an_error_that_says_what_to_do() -> None:
    request = replace(REQUEST, toolbox=Toolbox((WEATHER,), ToolChoice("required")))
    with pytest.raises(ToolCallInvalid, match=r"set llm\.tools to prompted"):
        asyncio.run(answered([text("Bonjour!"), finish("stop")], request))


def test_a_call_that_is_cut_off_is_passed_on_as_far_as_it_came() -> None:
    deltas, _ = asyncio.run(
        answered([call(0, '{"city": "Ro', name="get_weather", call_id="a"), finish("length")])
    )
    assert joined(deltas) == [ToolCall("a", "get_weather", '{"city": "Ro')]
    assert deltas[-1].truncated


def test_a_stop_ends_the_words_but_not_the_call() -> None:
    parts = [text("\n"), text("One "), text("moment.\nThen"), text(" more"), *SHAPES["all at once"]]
    deltas, bodies = asyncio.run(answered([*parts, finish("tool_calls")], stop=("\n",)))
    assert "".join(delta.text for delta in deltas) == "One moment."
    assert joined(deltas) == [PARIS]
    assert "stop" not in bodies[0]


def test_words_beyond_the_limit_are_left_out_and_the_call_is_not() -> None:
    words = [text(" word") for _ in range(SETTINGS.max_tokens + 1)]
    deltas, bodies = asyncio.run(answered([*words, *SHAPES["all at once"], finish("tool_calls")]))
    assert sum(bool(delta.text) for delta in deltas) == SETTINGS.max_tokens
    assert deltas[-1].truncated
    assert joined(deltas) == [PARIS]
    assert bodies[0]["max_tokens"] == 256


def test_what_is_asked_for() -> None:
    def asked(choice: ToolChoice) -> dict[str, Any]:
        request = replace(REQUEST, toolbox=Toolbox((WEATHER, TIME), choice))
        parts = [call(0, "{}", name="get_time", call_id="a"), finish("stop")]
        return asyncio.run(answered(parts, request))[1][0]

    weather = {"name": "get_weather", "description": "Get the weather.", "parameters": WEATHER.parameters}
    nothing = {"type": "object", "properties": {}}
    time = {"name": "get_time", "description": "Tell the time.", "parameters": nothing}
    both = [{"type": "function", "function": one} for one in (weather, time)]
    for mode in ("auto", "required", "none"):
        body = asked(ToolChoice(mode))
        assert (body["tools"], body["tool_choice"]) == (both, mode)
    named = asked(ToolChoice("required", "get_time"))
    assert (named["tools"], named["tool_choice"]) == (both[1:], "required")


def test_calls_and_results_in_the_conversation() -> None:
    messages = (
        *REQUEST.messages,
        Message("agent", "", calls=(PARIS, ToolCall("c2", "get_time"))),
        Message("tool", '{"sky": "blue"}', call_id="c1"),
        Message("tool", "noon", call_id="c2"),
    )
    _, bodies = asyncio.run(answered([text("ok"), finish("stop")], replace(REQUEST, messages=messages)))
    assert "tools" not in bodies[0]
    assert bodies[0]["messages"][3:] == json.loads("""[
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "c1", "type": "function",
             "function": {"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}},
            {"id": "c2", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}]},
        {"role": "tool", "content": "{\\"sky\\": \\"blue\\"}", "tool_call_id": "c1"},
        {"role": "tool", "content": "noon", "tool_call_id": "c2"}]""")


def test_without_functions_the_request_is_what_it_always_was() -> None:
    _, bodies = asyncio.run(answered([text("ok"), finish("stop")], REQUEST, stop=("\n",)))
    assert set(bodies[0]) == {
        *("model", "messages", "max_tokens", "temperature", "top_p", "stream", "stream_options", "stop")
    }
