"""Whatever a client and its network do: what is told of a call makes sense on each of its connections."""

import asyncio
from collections.abc import Awaitable, Callable

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.call import Call, FakeLink, in_call
from tests.support.dialogue import speech
from tests.support.realtime_check import check_server_frames
from voicestack.engines.scripted import ScriptedAsr, ScriptedLlm

ASIDE = {"conversation": "none", "input": []}
ANSWERS = ["One two three four five six seven.", "Yes.", "It is five o'clock, or so they say."]


async def speak(call: Call) -> None:
    await call.say(speech(400))
    await call.be_silent(300)


async def mumble(call: Call) -> None:
    await call.say(speech(150))


async def wait(call: Call) -> None:
    await call.be_silent(700)


async def clear(call: Call) -> None:
    call.send("output_audio_buffer.clear")


async def cancel(call: Call) -> None:
    call.send("response.cancel")


async def create(call: Call) -> None:
    call.send("response.create")


async def aside(call: Call) -> None:
    call.send("response.create", response=ASIDE)


async def vanish(call: Call) -> None:
    call.link.on_closed("gone")


async def come_back(call: Call) -> None:
    call.come_back()


async def open_channel(call: Call) -> None:
    if not call.transport.is_over and call.transport.link is call.link and not call.link.log:
        call.link.on_open()


STEPS: list[Callable[[Call], Awaitable[None]]] = [
    *(speak, speak, mumble, wait, clear, cancel, create, aside, vanish),
    *(come_back, open_channel, open_channel),
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=14))
def test_every_connection_is_told_a_consistent_story(steps: list[Callable[[Call], Awaitable[None]]]) -> None:
    links: list[FakeLink] = []

    async def script(call: Call) -> None:
        links.append(call.link)
        call.link.on_open()
        for step in steps:
            await step(call)
            if call.link is not links[-1]:
                links.append(call.link)
            if call.transport.is_over:
                return
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)

    call = in_call(script, llm=ScriptedLlm(ANSWERS), asr=ScriptedAsr(["count", "go on"]))
    assert call.lost is None
    for link in links:
        check_server_frames(map(orjson.dumps, link.events), extensions=True)
        check_playing(link)
        if link.events:
            assert link.events[0]["type"] == "session.created"
    for link in links[1:]:
        if link.events:
            assert link.events[1]["type"] == "voicestack.conversation.resumed"


def check_playing(link: FakeLink) -> None:
    """One reply plays at a time, and nothing is played that was not told to begin."""
    playing = None
    for _, what, value in link.log:
        kind = value["type"] if what == "event" else what
        assert kind != "response.output_audio.delta"
        if kind == "output_audio_buffer.started":
            assert playing is None
            playing = value["response_id"]
        elif kind in ("output_audio_buffer.stopped", "output_audio_buffer.cleared"):
            assert playing == value["response_id"]
            playing = None


@pytest.mark.parametrize("grace_ms", [0, 1])
def test_the_shortest_grace(grace_ms: int) -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        call.link.on_closed("gone")
        await call.ended.wait()

    assert (in_call(script, grace_ms=grace_ms).lost is None) == bool(grace_ms)
