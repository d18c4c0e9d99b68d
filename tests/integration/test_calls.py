"""A browser calls the running server over WebRTC: the real HTTP, ICE, DTLS, Opus and events."""

import asyncio
import json

import httpx
import numpy as np
import openai
import pytest
from openai.types.realtime import RealtimeSessionCreateRequestParam

from tests.support.caller import Caller
from tests.support.realtime_check import check_server_frames
from tests.support.rtc_peer import RATE_HZ, pitch_hz
from tests.support.server import with_server
from tests.support.visitors import call, event_of
from voicestack.realtime.protocol import RealtimeProtocol, Received

SESSION: RealtimeSessionCreateRequestParam = {
    "type": "realtime",
    "instructions": "Be kind.",
    "model": "gpt-realtime",
}


def check(caller: Caller, *, extensions: bool = False) -> None:
    frames = [message.encode() for message in caller.messages if isinstance(message, str)]
    assert len(frames) == len(caller.messages)
    check_server_frames(frames, extensions=extensions)


def test_a_spoken_turn() -> None:
    async def script(port: int) -> None:
        async with Caller(port) as caller:
            await caller.dial("model=mine")
            (created,) = caller.events
            assert created["session"]["model"] == "mine"
            await caller.speak()
            await caller.until("input_audio_buffer.speech_started")
            started = await caller.until("output_audio_buffer.started")
            done = await caller.until("response.done")
            assert (await caller.until("output_audio_buffer.stopped"))["response_id"] == started[
                "response_id"
            ]
            assert done["response"]["status"] == "completed"
            check(caller)
            assert "response.output_audio.delta" not in caller.kinds
            loud = caller.heard[np.abs(caller.heard) > 0]
            assert len(loud) > RATE_HZ
            assert abs(pitch_hz(loud[RATE_HZ // 4 : RATE_HZ // 2], RATE_HZ) - 440) < 15
            assert (await caller.hang_up()).status_code == 200
            await caller.wait_until(lambda: caller.channel.readyState == "closed")
            assert (await caller.hang_up()).status_code == 404

    with_server(script)


def test_a_typed_turn_and_an_interruption() -> None:
    async def script(port: int) -> None:
        async with Caller(port) as caller:
            await caller.dial()
            caller.type("Say something long.")
            await caller.until("output_audio_buffer.started")
            await asyncio.sleep(0.5)
            await caller.speak(0.5)
            await caller.until("output_audio_buffer.cleared")
            await caller.until("conversation.item.truncated")
            await caller.until("output_audio_buffer.started", 2)
            check(caller)

    with_server(script)


def test_coming_back_after_the_network_died() -> None:
    async def script(port: int) -> None:
        async with Caller(port) as first, Caller(port) as second:
            await first.dial("voicestack_events=1")
            session_id = first.events[0]["session"]["id"]
            first.type("Hello.")
            await first.until("output_audio_buffer.stopped")
            assert first.pc.sctp is not None
            await first.pc.sctp.transport.transport.stop()  # its socket, without a word to the server
            await second.dial(f"resume={first.call_id}")
            assert second.call_id == first.call_id
            resumed = await second.until("voicestack.conversation.resumed")
            created = second.events[0]
            assert second.events[1] == resumed
            assert created["session"]["id"] == session_id
            assert [item["role"] for item in resumed["items"]] == ["user", "assistant"]
            assert resumed["items"][0]["text"] == "Hello."
            await second.speak()
            await second.until("output_audio_buffer.stopped")
            check(second, extensions=True)
            measured = await second.until("voicestack.turn.measured")
            assert measured["response_ms"] > 0

    with_server(script)


def test_a_page_that_is_loaded_anew_finds_its_conversation() -> None:
    async def script(port: int) -> None:
        first = Caller(port)
        async with first, Caller(port) as second:
            await first.dial("voicestack_events=1")
            first.type("Hello.")
            await first.until("response.done")
            await first.close()
            await second.dial(f"resume={first.call_id}")
            assert (await second.until("voicestack.conversation.resumed"))["items"]

    with_server(script)


def test_a_call_without_our_events_ends_with_its_connection() -> None:
    async def script(port: int) -> None:
        async with Caller(port) as first, Caller(port) as second:
            await first.dial()
            await first.pc.close()
            await second.nobody_talks()
            answer = await second.http.post(f"/v1/realtime/calls?resume={first.call_id}", content="v=0")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "call_not_found")

    with_server(script)


def test_the_clients_address_may_change() -> None:
    """ICE restart: another offer of the same connection, answered under PATCH."""

    async def script(port: int) -> None:
        async with Caller(port) as caller, Caller(port) as other:
            await caller.dial()
            path = f"/v1/realtime/calls/{caller.call_id}"
            await caller.restart(lambda offer: caller.ask("PATCH", path, offer, 200))
            assert caller.answer is not None
            assert caller.answer.headers["Content-Type"] == "application/sdp"
            await caller.speak()
            await caller.until("output_audio_buffer.stopped")
            await other.dial()
            foreign = await caller.http.patch(path, content=other.pc.localDescription.sdp)
            assert (foreign.status_code, foreign.json()["error"]["code"]) == (400, "invalid_offer")
            caller.type("Hello.")
            await caller.until("output_audio_buffer.stopped", 2)

    with_server(script)


def test_a_bug_ends_its_own_call_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = RealtimeProtocol.receive

    def receive_or_die(self: RealtimeProtocol, message: str | bytes) -> Received:
        assert message != "die", "a bug"
        return receive(self, message)

    monkeypatch.setattr(RealtimeProtocol, "receive", receive_or_die)

    async def script(port: int) -> None:
        async with Caller(port) as unlucky, Caller(port) as other:
            await unlucky.dial("voicestack_events=1")
            await other.dial()
            unlucky.channel.send("die")
            await unlucky.wait_until(lambda: unlucky.channel.readyState == "closed")
            answer = await unlucky.http.post(f"/v1/realtime/calls?resume={unlucky.call_id}", content="v=0")
            assert answer.status_code == 404
            other.type("Hello.")
            await other.until("output_audio_buffer.stopped")

    with_server(script)


def test_the_openai_package_opens_and_ends_a_call() -> None:
    async def script(port: int) -> None:
        client = openai.AsyncOpenAI(api_key="none", base_url=f"http://127.0.0.1:{port}/v1")
        async with Caller(port) as caller, client:

            async def answer(offer: str) -> str:
                made = await client.realtime.calls.with_raw_response.create(sdp=offer, session=SESSION)
                caller.call_id = made.headers["Location"].rpartition("/")[2]
                return made.text

            await caller.call(answer)
            created = await caller.until("session.created")
            assert created["session"]["instructions"] == "Be kind."
            assert created["session"]["model"] == "gpt-realtime"
            await client.realtime.calls.hangup(caller.call_id)
            await caller.wait_until(lambda: caller.channel.readyState == "closed")

    with_server(script)


def test_a_sideband_joins_a_call_by_either_name() -> None:
    async def script(port: int) -> None:
        async with Caller(port) as caller:
            await caller.dial()
            session_id = caller.events[0]["session"]["id"]
            async with (
                call(port, query=f"call_id={caller.call_id}") as one,
                call(port, query=f"call_id={session_id}") as other,
            ):
                for sideband in (one, other):
                    assert (await event_of(sideband, "session.created"))["session"]["id"] == session_id
                await one.send(json.dumps({"type": "response.create"}))
                await caller.until("output_audio_buffer.started")
                for sideband in (one, other):
                    await event_of(sideband, "output_audio_buffer.started")
                await other.send(json.dumps({"type": "output_audio_buffer.clear"}))
                for sideband in (one, other):
                    await event_of(sideband, "output_audio_buffer.cleared")
                await one.send(json.dumps({"type": "input_audio_buffer.append", "audio": "AAAA"}))
                assert (await event_of(one, "error"))["error"]["code"] == "invalid_value"
                await caller.hang_up()
                for sideband in (one, other):
                    await sideband.wait_closed()

    with_server(script)


def test_figures_of_calls() -> None:
    async def script(port: int) -> None:
        async with Caller(port) as caller, httpx.AsyncClient() as http:
            await caller.dial("voicestack_events=1")
            await caller.speak()
            started = await caller.until("output_audio_buffer.started")
            caller.tell("voicestack.clock.ping", client_ms=0)
            heard_ms = (await caller.until("voicestack.clock.pong"))["server_ms"]
            heard = {"response_id": started["response_id"], "heard_ms": heard_ms, "error_ms": 1}
            caller.tell("voicestack.audio.heard", **heard)
            caller.tell("voicestack.audio.heard", **{**heard, "heard_ms": heard_ms + 60_000})
            measured = await caller.until("voicestack.turn.measured")
            assert measured["heard_after_ms"] > measured["response_ms"]
            text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
            assert 'voicestack_calls{state="connected"} 1.0' in text
            figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
            assert float(figures["voicestack_call_packets_received_total"]) > 50
            assert figures["voicestack_heard_seconds_count"] == "1.0"
            assert figures["voicestack_heard_implausible_total"] == "1.0"
            n_sent = float(figures["voicestack_call_packets_sent_total"])
            assert n_sent > 50
            assert float(figures["voicestack_call_packet_lateness_seconds_count"]) == n_sent
            await caller.hang_up()
            await caller.nobody_talks()
            text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
            assert 'voicestack_calls{state="connected"} 0.0' in text
            assert f"voicestack_call_packets_sent_total {n_sent}" in text

    with_server(script)
