"""The client against a server that does whatever a test wants, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.core.deadline import LIMIT_HEADER, TARGET_HEADER, Deadline
from voicestack.core.errors import (
    StageError,
    StageExpired,
    StageOverloaded,
    StageRejected,
    StageTimeout,
    StageUnavailable,
)
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.notes import Usage
from voicestack.engines.chat_body import LlmSettings, ServerDialect
from voicestack.engines.openai_llm import OpenAiLlm
from voicestack.engines.sse import PromptTooLong
from voicestack.engines.vllm_dialect import SLO_HEADER
from voicestack.ports import LlmDelta, LlmRequest

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SETTINGS = LlmSettings(first_token_ms=2000, token_gap_ms=2000)
REQUEST = LlmRequest(
    SessionId("s1"),
    TurnId(1),
    (Message("system", "Be brief."), Message("user", "Hi."), Message("agent", "Yo.")),
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(**fields: Any) -> bytes:
    return chunk(b"data: " + json.dumps(fields).encode() + b"\n\n")


def text(content: str) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": content}, "finish_reason": None}])


def finish(reason: str) -> bytes:
    return event(choices=[{"index": 0, "delta": {}, "finish_reason": reason}])


DONE = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Peer:
    """One connection, seen from the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.head = ""
        self.body: dict[str, Any] = {}

    async def request(self) -> bool:
        try:
            self.head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        except asyncio.IncompleteReadError:
            return False
        _, found, rest = self.head.partition("content-length: ")
        length = int(rest.split("\r\n")[0]) if found else 0
        self.body = json.loads(await self._reader.readexactly(length) or b"{}")
        return True

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()

    async def refuse(self, status: str, message: str = "no") -> None:
        body = json.dumps({"error": {"message": message}}).encode()
        await self.send(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body))

    async def gone(self) -> None:
        await self._reader.read()

    def abort(self) -> None:
        self._writer.transport.abort()


Play = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def serving(play: Play, settings: LlmSettings = SETTINGS) -> AsyncIterator[OpenAiLlm]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        try:
            while await peer.request():
                await play(peer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    llm = OpenAiLlm(f"http://127.0.0.1:{port}", "m", clock=SystemClock(), settings=settings, api_key="sesame")
    try:
        yield llm
    finally:
        await llm.close()
        server.close()


async def collect(llm: OpenAiLlm, got: list[LlmDelta], request: LlmRequest = REQUEST) -> None:
    async with aclosing(llm.reply(request)) as deltas:
        async for delta in deltas:
            got.append(delta)


async def whole(llm: OpenAiLlm, request: LlmRequest = REQUEST) -> list[LlmDelta]:
    got: list[LlmDelta] = []
    await collect(llm, got, request)
    return got


def test_the_request_and_the_answer() -> None:
    heads: list[str] = []
    bodies: list[dict[str, Any]] = []

    async def play(peer: Peer) -> None:
        heads.append(peer.head)
        bodies.append(peer.body)
        usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
        whole_event = text("Hello")
        await peer.send(HEAD, event(choices=[{"delta": {"role": "assistant", "content": None}}]))
        await peer.send(chunk(b": a comment\n\n"), whole_event[:20])
        await asyncio.sleep(0.01)
        await peer.send(
            whole_event[20:], text(" there"), finish("stop"), event(choices=[], usage=usage), DONE
        )

    async def main() -> None:
        async with serving(play, replace(SETTINGS, repeat_penalty=1.2, stop=("\n",))) as llm:
            assert await whole(llm) == [
                LlmDelta("Hello"),
                LlmDelta(" there"),
                LlmDelta(usage=Usage(input_tokens=9, cached_tokens=4, output_tokens=2)),
            ]

    asyncio.run(main())
    assert heads[0].startswith("post /v1/chat/completions ")
    assert "authorization: bearer sesame" in heads[0]
    assert bodies[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": "Yo."},
    ]
    assert bodies[0]["repetition_penalty"] == 1.2
    assert bodies[0]["stop"] == ["\n"]
    assert bodies[0]["stream_options"] == {"include_usage": True}
    assert not {"id_slot", "cache_prompt", "n_predict", "return_progress"} & bodies[0].keys()


def left(target_ms: int, limit_ms: int) -> Deadline:
    now_ns = SystemClock().now_ns()
    return Deadline(now_ns + target_ms * 1_000_000, now_ns + limit_ms * 1_000_000)


@pytest.mark.parametrize("dialect", ["plain", "vllm"])
def test_what_is_left_of_the_turn_goes_with_the_request(dialect: ServerDialect) -> None:
    heads: list[httpx.Headers] = []

    async def play(peer: Peer) -> None:
        lines = [line.partition(": ") for line in peer.head.splitlines()[1:] if line]
        heads.append(httpx.Headers([(name, value) for name, _, value in lines]))
        await peer.send(HEAD, text("Hello"), finish("stop"), DONE)

    async def main() -> None:
        async with serving(play, replace(SETTINGS, dialect=dialect)) as llm:
            await whole(llm, replace(REQUEST, deadline=left(60_000, 90_000)))
            await whole(llm, replace(REQUEST, deadline=left(-5_000, 90_000)))
            await whole(llm)

    asyncio.run(main())
    in_time, late, free = heads
    assert 30_000 < int(in_time[TARGET_HEADER]) <= 60_000
    assert 60_000 < int(in_time[LIMIT_HEADER]) <= 90_000
    assert (SLO_HEADER in in_time) == (dialect == "vllm")
    assert int(late[TARGET_HEADER]) <= -5_000
    assert SLO_HEADER not in late
    assert not {TARGET_HEADER, LIMIT_HEADER, SLO_HEADER} & free.keys()


def test_a_first_token_that_nobody_wants_any_more_is_not_waited_for() -> None:
    n_asked = 0

    async def play(peer: Peer) -> None:
        nonlocal n_asked
        n_asked += 1
        await peer.send(HEAD)
        await peer.gone()

    async def main() -> None:
        async with asyncio.timeout(20), serving(play, replace(SETTINGS, first_token_ms=60_000)) as llm:
            with pytest.raises(StageExpired):
                await whole(llm, replace(REQUEST, deadline=left(10, 100)))
            with pytest.raises(StageExpired):
                await whole(llm, replace(REQUEST, deadline=left(-10, 0)))
            assert llm.figures()["expired_total"] == 2

    asyncio.run(main())
    assert n_asked == 1, "what has expired is not sent"


def test_an_answer_that_has_begun_is_not_broken_off() -> None:
    async def play(peer: Peer) -> None:
        await peer.send(HEAD, text("Hello"))
        await asyncio.sleep(0.4)
        await peer.send(text(" there"), finish("stop"), DONE)

    async def main() -> None:
        async with serving(play) as llm:
            deltas = await whole(llm, replace(REQUEST, deadline=left(100, 300)))
            assert "".join(delta.text for delta in deltas) == "Hello there"

    asyncio.run(main())


def test_a_draft_that_waits_for_a_reply_is_dropped_when_it_has_expired() -> None:
    sent: list[str] = []
    go_on = asyncio.Event()

    async def play(peer: Peer) -> None:
        sent.append(peer.body["messages"][-1]["content"])
        await go_on.wait()
        await peer.send(HEAD, text("Hello"), finish("stop"), DONE)

    async def main() -> None:
        draft = replace(REQUEST, session=SessionId("s2"), draft=True, messages=(Message("user", "later"),))
        async with serving(play, replace(SETTINGS, slots=1)) as llm, Scope() as scope:
            reply = scope.start(collect(llm, []), name="reply")
            await asyncio.sleep(0)
            with pytest.raises(StageExpired):
                await whole(llm, replace(draft, deadline=left(10, 50)))
            go_on.set()
            await reply
            await whole(llm, draft)

    asyncio.run(main())
    assert sent == ["Yo.", "later"], "the expired one never reached the server"


def test_how_a_server_goes_on_with_a_begun_answer() -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    async def play(peer: Peer) -> None:
        path = peer.head.split(" ")[1]
        asked.append((path, peer.body))
        if path in ("/apply-template", "/v1/models"):
            said = {"prompt": "<user>Hi.<agent>", "data": [{"owned_by": "llamacpp"}]}
            body = json.dumps(said).encode()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        elif path == "/v1/completions":
            piece = event(choices=[{"index": 0, "text": " calm", "finish_reason": None}])
            await peer.send(HEAD, piece, event(choices=[{"text": "", "finish_reason": "stop"}]), DONE)
        else:
            await peer.send(HEAD, text(" calm"), finish("stop"), DONE)

    async def main() -> None:
        begun = replace(REQUEST, messages=(Message("user", "Hi."),), begun="The sea is")
        llama = replace(SETTINGS, slots=2), replace(SETTINGS, dialect="auto")
        for settings in (replace(SETTINGS, dialect="vllm"), SETTINGS, *llama):
            async with serving(play, settings) as llm:
                assert [delta.text for delta in await whole(llm, begun)] == [" calm", ""]

    asyncio.run(main())
    (_, vllm), (_, plain), (render, rendered), (completions, llama), *attached = asked
    assert [path for path, _ in attached] == ["/v1/models", "/apply-template", "/v1/completions"]
    assert "id_slot" not in attached[2][1], "it is not ours alone"
    user, agent = {"role": "user", "content": "Hi."}, {"role": "assistant", "content": "The sea is"}
    assert vllm["messages"] == [user, agent]
    assert (vllm["continue_final_message"], vllm["add_generation_prompt"]) == (True, False)
    assert plain["messages"][:2] == [user, agent]
    assert "Go on" in plain["messages"][2]["content"]
    assert not {"continue_final_message", "prompt"} & plain.keys()
    assert (render, rendered) == ("/apply-template", {"messages": [user]})
    assert completions == "/v1/completions"
    assert llama["prompt"] == "<user>Hi.<agent>The sea is"
    assert (llama["id_slot"], "messages" in llama) == (0, False)


def test_the_dialect_of_llama_server() -> None:
    bodies: list[dict[str, Any]] = []

    async def play(peer: Peer) -> None:
        bodies.append(peer.body)
        await peer.send(HEAD, text("Hello"), finish("length"), DONE)

    async def main() -> None:
        async with serving(play, replace(SETTINGS, slots=2, repeat_penalty=1.2)) as llm:
            *_, last = await whole(llm, replace(REQUEST, max_tokens=5))
            assert last.truncated
            await llm.prime(REQUEST)
            await whole(llm, replace(REQUEST, session=SessionId("s2"), max_tokens=1_000_000))

    asyncio.run(main())
    assert [body["id_slot"] for body in bodies] == [0, 0, 1]
    assert [body["max_tokens"] for body in bodies] == [5, 80, 80]
    assert [body.get("n_predict") for body in bodies] == [None, 0, None]
    assert bodies[0]["repeat_penalty"] == 1.2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("400 Bad Request", StageRejected),
        ("401 Unauthorized", StageRejected),
        ("403 Forbidden", StageRejected),
        ("404 Not Found", StageRejected),
        ("422 Unprocessable", StageRejected),
        ("429 Too Many Requests", StageOverloaded),
        ("500 Internal Server Error", StageUnavailable),
        ("503 Service Unavailable", StageUnavailable),
    ],
)
def test_refusals(status: str, kind: type[StageError]) -> None:
    async def main() -> None:
        async with serving(lambda peer: peer.refuse(status, "because")) as llm:
            with pytest.raises(kind, match=f"{status[:3]}.*because") as caught:
                await whole(llm)
            assert type(caught.value) is kind

    asyncio.run(main())


def test_an_error_in_mid_stream() -> None:
    async def play(peer: Peer) -> None:
        await peer.send(HEAD, text("Hel"), event(error={"code": 500, "message": "out of memory"}), DONE)

    async def main() -> None:
        async with serving(play) as llm:
            with pytest.raises(StageUnavailable, match="out of memory"):
                await whole(llm)

    asyncio.run(main())


@pytest.mark.parametrize("ending", [b"", b"0\r\n\r\n", chunk(b"data: {garbage\n\n")])
def test_a_server_that_vanishes_in_mid_answer(ending: bytes) -> None:
    async def play(peer: Peer) -> None:
        await peer.send(HEAD, text("Hel"), ending)
        peer.abort() if not ending else None

    async def main() -> None:
        async with serving(play) as llm, asyncio.timeout(5.0):
            got: list[LlmDelta] = []
            with pytest.raises(StageUnavailable):
                await collect(llm, got)
            assert got == [LlmDelta("Hel")]

    asyncio.run(main())


def test_nobody_there() -> None:
    async def main() -> None:
        llm = OpenAiLlm("unix:/nowhere/x.sock", "m", clock=SystemClock(), settings=SETTINGS)
        async with asyncio.timeout(5.0):
            with pytest.raises(StageUnavailable, match="lost unix:/nowhere"):
                await whole(llm)
        await llm.close()

    asyncio.run(main())


def test_a_first_token_that_does_not_come() -> None:
    closed = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.send(HEAD, event(choices=[{"delta": {"role": "assistant"}}]))
        await peer.gone()
        closed.set()

    async def main() -> None:
        async with serving(play, replace(SETTINGS, first_token_ms=50)) as llm:
            with pytest.raises(StageTimeout, match="50 ms"):
                await whole(llm)
            async with asyncio.timeout(5.0):
                await closed.wait()

    asyncio.run(main())


def test_a_gap_between_tokens() -> None:
    async def play(peer: Peer) -> None:
        await peer.send(HEAD, text("Hel"))
        await peer.gone()

    async def main() -> None:
        async with serving(play, replace(SETTINGS, token_gap_ms=50)) as llm:
            with pytest.raises(StageTimeout, match="50 ms"):
                await whole(llm)

    asyncio.run(main())


def test_closing_the_answer_closes_the_connection() -> None:
    closed = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.send(HEAD, text("Hel"))
        await peer.gone()
        closed.set()

    async def main() -> None:
        async with serving(play) as llm:
            async with aclosing(llm.reply(REQUEST)) as deltas:
                assert await anext(deltas) == LlmDelta("Hel")
            async with asyncio.timeout(5.0):
                await closed.wait()

    asyncio.run(main())


def test_a_kept_connection_that_went_stale_is_not_an_error() -> None:
    n_requests = 0

    async def play(peer: Peer) -> None:
        nonlocal n_requests
        n_requests += 1
        if n_requests == 2:
            peer.abort()  # as the second request arrives
        else:
            await peer.send(HEAD, text("Hello"), finish("stop"), DONE)

    async def main() -> None:
        async with serving(play) as llm:
            for _ in range(2):
                assert (await whole(llm))[0] == LlmDelta("Hello")

    asyncio.run(main())
    assert n_requests == 3


def test_a_conversation_that_is_too_long_is_halved() -> None:
    lengths: list[int] = []
    too_long = "This model's maximum context length is 100 tokens."

    async def play(peer: Peer) -> None:
        lengths.append(len(peer.body["messages"]))
        if lengths[-1] > 10:
            await peer.refuse("400 Bad Request", too_long)
        else:
            await peer.send(HEAD, text("Hello"), finish("stop"), DONE)

    talk = tuple(Message("agent" if n % 2 else "user", f"This is sentence {n}.") for n in range(31))

    async def main() -> None:
        async with serving(play) as llm:
            assert (await whole(llm, replace(REQUEST, messages=talk)))[0] == LlmDelta("Hello")
            lengths.clear()
            one = (Message("user", "word " * 1000),)
            async with serving(lambda peer: peer.refuse("400 Bad Request", too_long)) as strict:
                with pytest.raises(PromptTooLong):
                    await whole(strict, replace(REQUEST, messages=one))

    asyncio.run(main())


def test_a_reply_ends_the_prime_of_its_session() -> None:
    primed = asyncio.Event()
    prime_gone = asyncio.Event()

    async def play(peer: Peer) -> None:
        if peer.body["max_tokens"] == 1:
            await peer.send(HEAD)
            primed.set()
            await peer.gone()
            prime_gone.set()
        else:
            await peer.send(HEAD, text("Hello"), finish("stop"), DONE)

    async def main() -> None:
        async with serving(play) as llm, asyncio.TaskGroup() as group:
            prime = group.create_task(llm.prime(REQUEST))
            await primed.wait()
            async with asyncio.timeout(5.0):
                await whole(llm)
                await prime  # without an error
                await prime_gone.wait()

    asyncio.run(main())


def test_a_newer_prime_replaces_an_older_one() -> None:
    contents: list[str] = []
    arrived = asyncio.Event()

    async def play(peer: Peer) -> None:
        contents.append(peer.body["messages"][-1]["content"])
        arrived.set()
        await peer.send(HEAD)
        if contents[-1] == "what":
            await peer.gone()
        else:
            await peer.send(text("x"), finish("length"), DONE)

    async def main() -> None:
        async with serving(play) as llm, asyncio.timeout(5.0), asyncio.TaskGroup() as group:
            group.create_task(llm.prime(replace(REQUEST, messages=(Message("user", "what"),))))
            await arrived.wait()
            await llm.prime(replace(REQUEST, messages=(Message("user", "what is"),)))

    asyncio.run(main())
    assert contents == ["what", "what is"]


def test_a_failing_prime_says_so() -> None:
    async def main() -> None:
        async with serving(lambda peer: peer.refuse("503 Busy")) as llm:
            with pytest.raises(StageUnavailable):
                await llm.prime(REQUEST)

    asyncio.run(main())


class Prompts:
    """A llama-server that computes primes until it is allowed to go on, and answers replies at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go_on = asyncio.Event()
        self.arrived = asyncio.Event()

    async def play(self, peer: Peer) -> None:
        self.asked.append(peer.body["messages"][-1]["content"])
        self.arrived.set()
        await peer.send(HEAD)
        if peer.body.get("n_predict") == 0:
            await self.go_on.wait()
        await peer.send(text("x"), finish("length"), DONE)

    def request(self, session: str) -> LlmRequest:
        return replace(REQUEST, session=SessionId(session), messages=(Message("user", session),))


def test_primes_of_different_sessions_take_turns() -> None:
    prompts = Prompts()

    async def main() -> None:
        async with (
            asyncio.timeout(5.0),
            serving(prompts.play, replace(SETTINGS, slots=2)) as llm,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(llm.prime(prompts.request("s1")))
            await prompts.arrived.wait()
            group.create_task(llm.prime(prompts.request("s2")))
            await asyncio.sleep(0)
            assert prompts.asked == ["s1"]
            prompts.go_on.set()

    asyncio.run(main())
    assert prompts.asked == ["s1", "s2"]


def test_a_reply_ends_the_primes_of_all_sessions_of_a_llama_server() -> None:
    prompts = Prompts()

    async def main() -> None:
        async with serving(prompts.play, replace(SETTINGS, slots=2)) as llm, asyncio.timeout(5.0):
            async with asyncio.TaskGroup() as group:
                prime = group.create_task(llm.prime(prompts.request("s1")))
                await prompts.arrived.wait()
                await whole(llm, prompts.request("s2"))
                await prime
            prompts.go_on.set()

    asyncio.run(main())
    assert prompts.asked == ["s1", "s2"]


def test_the_end_of_a_session_ends_its_prime() -> None:
    prompts = Prompts()

    async def main() -> None:
        async with serving(prompts.play, replace(SETTINGS, slots=2)) as llm, asyncio.timeout(5.0):
            async with asyncio.TaskGroup() as group:
                prime = group.create_task(llm.prime(prompts.request("s1")))
                await prompts.arrived.wait()
                llm.release(SessionId("s1"))
                await prime
            prompts.go_on.set()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("plain", "with_tools", "tools", "n_faults"),
    [
        ("<user>Hi.", "<tools>get_weather<user>Hi.", "native", 0),
        ("<user>Hi.", "<user>Hi.", "native", 1),
        ("<user>Hi.", None, "native", 1),  # it has no --jinja
        (None, None, "native", 0),  # it is no llama-server
        ("<user>Hi.", "<user>Hi.", "prompted", 0),
    ],
)
def test_a_template_that_leaves_functions_out(
    plain: str | None, with_tools: str | None, tools: Any, n_faults: int
) -> None:
    paths: set[str] = set()

    async def play(peer: Peer) -> None:
        paths.add(peer.head.split()[1])
        prompt = with_tools if "tools" in peer.body else plain
        if prompt is None:
            await peer.refuse("404 Not Found")
            return
        body = json.dumps({"prompt": prompt}).encode()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async def main() -> None:
        async with serving(play, replace(SETTINGS, tools=tools)) as llm:
            assert len(await llm.faults()) == n_faults

    asyncio.run(main())
    assert paths <= {"/apply-template"}


def test_a_server_that_is_not_there_has_no_faults_that_are_known() -> None:
    async def main() -> None:
        llm = OpenAiLlm("http://127.0.0.1:9/v1", "m", clock=SystemClock(), settings=SETTINGS)
        assert await llm.faults() == []
        await llm.close()

    asyncio.run(main())


@pytest.mark.parametrize("slots", [None, 2])
def test_a_prime_that_is_stopped_twice_at_once_hangs_up(slots: int | None) -> None:
    """As a session does it when a reply begins: it ends its prime, and the engine ends what is in the way."""
    asked, gone = asyncio.Event(), asyncio.Event()

    async def play(peer: Peer) -> None:
        if peer.body["messages"][-1]["content"] != "Yo.":
            await peer.send(HEAD, text("Hello"), finish("stop"), DONE)
            return
        await peer.send(HEAD, event(choices=[]))
        asked.set()
        await peer.gone()
        gone.set()

    async def main() -> None:
        async with serving(play, replace(SETTINGS, slots=slots)) as llm, Scope() as scope:
            prime = scope.start(llm.prime(REQUEST), name="prime")
            await asked.wait()
            await asyncio.sleep(0.01)
            prime.cancel()
            await collect(llm, [], replace(REQUEST, messages=(Message("user", "Hi."),)))
            async with asyncio.timeout(2.0):
                await gone.wait()

    asyncio.run(main())
