"""Too many at a time: who comes too late is told so, and when to come back; the others notice nothing."""

import json
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.support.server import SCRIPTED, with_server
from tests.support.visitors import call, event_of
from voicestack.aio.clock import SystemClock
from voicestack.cli.bench_stats import read_total
from voicestack.cli.client import call as spoken_call
from voicestack.cli.client import session_update
from voicestack.cli.dialing import Refused

BURST = (
    *("admission.enabled=true", "admission.start_sessions=4", "admission.floor_sessions=0"),
    "admission.lag_max_ms=10000",  # the machine of the tests may be busy
)
ELSEWHERE = ("admission.elsewhere_region=eu-2", "admission.elsewhere_url=https://eu-2.example.com")
ASKED = {
    "type": "conversation.item.create",
    "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello?"}]},
}


async def answered(ws: ClientConnection) -> None:
    """Ask in writing and be answered to the end."""
    await ws.send(json.dumps(ASKED))
    await ws.send(json.dumps({"type": "response.create"}))
    assert (await event_of(ws, "response.done"))["response"]["status"] == "completed"


async def turned_away(port: int) -> tuple[int, str]:
    """Call; the close code and reason."""
    async with call(port) as late:
        assert (await event_of(late, "error"))["error"]["code"] == "overloaded"
        with suppress(ConnectionClosed):
            while True:
                await late.recv()
        assert late.close_code is not None
        return late.close_code, str(late.close_reason)


def test_a_burst_is_turned_away_and_nobody_in_a_call_notices() -> None:
    async def script(port: int) -> None:
        async with AsyncExitStack() as stack, httpx.AsyncClient(trust_env=False) as http:
            old = [await stack.enter_async_context(call(port)) for _ in range(2)]
            for ws in old:
                await event_of(ws, "session.created")
            for _ in range(3):
                code, reason = await turned_away(port)
                assert code == 1013
                assert reason.startswith("too much load: slow_start; try again in ")
                assert reason.endswith(" s or at https://eu-2.example.com")
            with pytest.raises(Refused):
                async with spoken_call(f"ws://127.0.0.1:{port}", SystemClock(), update=session_update()):
                    pass
            url = f"http://127.0.0.1:{port}"
            sdp = {"Content-Type": "application/sdp"}
            refused = await http.post(f"{url}/v1/realtime/calls", content="v=0", headers=sdp)
            assert refused.status_code == 503
            assert 1 <= int(refused.headers["Retry-After"]) <= 10
            assert refused.json()["error"]["code"] == "overloaded"
            for ws in old:
                await answered(ws)
            page = (await http.get(f"{url}/metrics")).text
            refusals = [line for line in page.splitlines() if 'figure="refused_slow_start"' in line]
            assert refusals == [
                'voicestack_engine_counts_total{engine="admission",figure="refused_slow_start"} 5.0'
            ]
            speech = {"model": "tts", "input": "Hello.", "voice": "default"}
            assert (await http.post(f"{url}/v1/audio/speech", json=speech)).status_code == 200

    with_server(script, sets=[*SCRIPTED, *BURST, *ELSEWHERE])


def test_the_queues_of_engines_that_take_their_time_are_exported(tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    slow = {"asr_final_ms": [1], "llm_first_token_ms": [600], "llm_token_ms": [1], "tts_phrase_ms": [1]}
    path.write_text(json.dumps({"times": slow}))

    async def script(port: int) -> None:
        async with AsyncExitStack() as stack, httpx.AsyncClient(trust_env=False) as http:
            sessions = [await stack.enter_async_context(call(port)) for _ in range(3)]
            for ws in sessions:
                await ws.send(json.dumps(ASKED))
                await ws.send(json.dumps({"type": "response.create"}))
                await event_of(ws, "response.created")
            page = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
            assert 'voicestack_queue_busy_places{queue="llm"} 1.0' in page
            assert 'voicestack_queue_waiting{queue="llm"} 2.0' in page
            assert read_total(page, "voicestack_queue_oldest_wait_seconds") > 0
            for ws in sessions:
                assert (await event_of(ws, "response.done"))["response"]["status"] == "completed"

    sets = [*SCRIPTED, f"scripted.times={path}", "llm.slots=1"]
    with_server(script, sets=[*sets, "budget.readiness_turn_ms=20000"])
