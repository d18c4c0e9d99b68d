"""Is a session answered by the model, or adapter, that its peer named when it connected?"""

import json
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from websockets.asyncio.client import connect

from tests.support.dialogue import SETTINGS, Dialogue, converse, speech
from tests.support.realtime_check import make_protocol
from tests.support.server import with_server
from voicestack.core.commands import Configure
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.settings import SessionSettings
from voicestack.engines.chat_body import LlmSettings, body_of, plain_plan
from voicestack.engines.scripted import ScriptedLlm
from voicestack.ports import LlmDelta, LlmRequest


class ListeningLlm(ScriptedLlm):
    """Keeps which model each request is for."""

    def __init__(self) -> None:
        super().__init__(["It is five o'clock."])
        self.asked: list[tuple[str, str]] = []

    async def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        self.asked.append(("reply", request.model))
        async for delta in super().reply(request):
            yield delta

    async def prime(self, request: LlmRequest) -> None:
        self.asked.append(("prime", request.model))


@pytest.mark.parametrize(("asked", "named"), [("sales", "sales"), ("gpt-realtime", "local"), ("", "local")])
def test_only_adapters_that_there_are_are_asked_for(asked: str, named: str) -> None:
    request = LlmRequest(SessionId("s"), TurnId(1), (Message("user", "hello"),), model=asked)
    settings = LlmSettings(adapters=("sales", "support"))
    assert body_of(plain_plan(request), request, settings, model="local", slot=0)["model"] == named


def test_replies_and_primes_of_a_session_are_for_its_model() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(3000)

    llm = ListeningLlm()
    converse(script, llm=llm, settings=SessionSettings(model="sales", turn_detection=SETTINGS.turn_detection))
    assert set(llm.asked) == {("reply", "sales"), ("prime", "sales")}


def test_a_peer_cannot_change_it_later() -> None:
    protocol = make_protocol(SessionSettings(model="sales"), model="sales")
    update = {"type": "session.update", "session": {"type": "realtime", "model": "support"}}
    commands = protocol.receive(json.dumps(update)).commands
    assert all(not isinstance(one, Configure) or one.settings.model == "sales" for one in commands)
    assert protocol.settings.model == "sales"


def test_it_is_named_in_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    reply = ScriptedLlm.reply

    def listening(self: ScriptedLlm, request: LlmRequest) -> AsyncIterator[LlmDelta]:
        asked.append(request.model)
        return reply(self, request)

    monkeypatch.setattr(ScriptedLlm, "reply", listening)

    async def script(port: int) -> None:
        asked.clear()  # the server's own turns
        async with connect(f"ws://127.0.0.1:{port}/v1/realtime?model=sales") as socket:
            content = [{"type": "input_text", "text": "hello"}]
            item = {"type": "message", "role": "user", "content": content}
            await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
            await socket.send(json.dumps({"type": "response.create"}))
            while json.loads(await socket.recv())["type"] != "response.done":
                pass

    with_server(script)
    assert asked == ["sales"]
