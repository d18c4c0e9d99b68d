"""Two servers: what one of them cannot answer, the other one does, and no turn is lost."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager

import httpx
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.chat_server import ChatServer
from tests.support.replicas import Log, member, roster
from tests.support.served import Served
from tests.support.server import SCRIPTED, with_server
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.core.audio import AudioFrame
from voicestack.core.rungs import Rung
from voicestack.core.turn_record import TurnRecord
from voicestack.engines.openai_asr import ListeningServer, OpenAiAsr
from voicestack.engines.openai_tts import OpenAiTts, SpeechServer
from voicestack.engines.scripted import ScriptedAsr, ScriptedTts
from voicestack.fleet.asr_pool import AsrPool
from voicestack.fleet.breaker import Breaker
from voicestack.fleet.tts_pool import TtsPool
from voicestack.ports import Pause, SpeechRequest
from voicestack.server import lifecycle
from voicestack.server.readiness import question
from voicestack.telemetry.metrics import Metrics

HERE, THERE = "Here I am.", "Over there I am, and still talking."
LIMIT_S = 60
WARM = 'voicestack_engine_figure{engine="llm_pool.b",figure="is_warm"} 1.0'
PATIENT = ("budget.readiness_turn_ms=20000", "fleet.probe_s=0.2", "fleet.breaker_open_ms=60000")


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[TurnRecord]:
    """The ledger's records of the server that runs in this process."""
    kept: list[TurnRecord] = []

    class Watched(Metrics):
        def turn_recorded(self, record: TurnRecord) -> None:
            super().turn_recorded(record)
            kept.append(record)

    monkeypatch.setattr(lifecycle, "Metrics", Watched)
    return kept


async def until(is_true: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not is_true():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert is_true(), what


def home(llm: ChatServer, other: Served, *more: str) -> tuple[str, ...]:
    """How the server here is configured: its language model, and the other server as a replica."""
    return (
        *SCRIPTED,
        *PATIENT,
        "llm.engine=openai",
        f"llm.url={llm.url}",
        "llm.model=told",
        "llm.prime=false",
        "llm.first_token_ms=2500",
        "fleet.region=here",
        f"fleet.llm.b.url={other.url}/v1",
        "fleet.llm.b.region=there",
        *more,
    )


@asynccontextmanager
async def caller(port: int) -> AsyncIterator[ClientConnection]:
    async with connect(f"ws://127.0.0.1:{port}/v1/realtime?model=x", max_size=None) as peer:
        yield peer


async def ask(peer: ClientConnection, heard: asyncio.Event | None = None) -> str:
    """Ask something in writing, and read the answer's words to its end. `heard`: set when it begins."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Who is it?"}]}
    await peer.send(orjson.dumps({"type": "conversation.item.create", "item": item}).decode())
    await peer.send('{"type": "response.create"}')
    words = ""
    async with asyncio.timeout(LIMIT_S):
        async for message in peer:
            event = orjson.loads(message)
            if event["type"] == "response.output_audio_transcript.delta":
                words += event["delta"]
                if heard is not None:
                    heard.set()
            if event["type"] == "response.done":
                return words
    raise AssertionError("hung up")


@pytest.fixture
def llm() -> Iterator[ChatServer]:
    """The language model here."""
    with ChatServer(HERE).serving() as server:
        yield server


@pytest.fixture(scope="module")
def far() -> Iterator[ChatServer]:
    """The language model of the other server."""
    with ChatServer(THERE).serving() as server:
        yield server


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, far: ChatServer) -> Iterator[Served]:
    sets = (f"llm.url={far.url}", "llm.engine=openai", "llm.model=told", "llm.prime=false")
    folder = tmp_path_factory.mktemp("other")
    server = Served(folder, "scripted", (*sets, "fleet.region=there"))
    yield server
    if server.is_running:
        server.stop()


@pytest.fixture
def other(process: Served, far: ChatServer) -> Served:
    """The other server, in a process of its own, running."""
    far.mode = "ok"
    if not process.is_running:
        process.start()
    return process


def with_two(llm: ChatServer, other: Served, script: Callable[[int], Awaitable[None]]) -> None:
    """A server here, in this process, that has the other one as a replica and has found it warm."""

    async def inside(port: int) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            while WARM not in (await client.get(f"http://127.0.0.1:{port}/metrics")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await script(port)

    with_server(inside, sets=home(llm, other), timeout_s=LIMIT_S)


def used(record: TurnRecord) -> list[tuple[str, str, bool]]:
    """Whom the language model's part of a turn was asked of."""
    return [(use.replica, use.region, use.won) for use in record.uses if use.stage == "llm"]


def rungs(record: TurnRecord) -> list[Rung]:
    return [taken.rung for taken in record.taken]


def test_a_language_model_that_is_dead_or_stuck_is_replaced_by_the_other_server(
    llm: ChatServer, other: Served, records: list[TurnRecord]
) -> None:
    async def script(port: int) -> None:
        async with caller(port) as peer:
            assert await ask(peer) == HERE
            llm.mode = "refuses"
            assert await ask(peer) == THERE
            llm.mode = "stuck"
            assert await ask(peer) == THERE
        await until(lambda: len(records) == 3, "the ledger has all turns")
        first, dead, stuck = records
        assert used(first) == [("local", "here", True)]
        assert Rung.SHED in rungs(dead)
        assert used(dead)[-1] == ("b", "there", True)
        assert Rung.SHED in rungs(stuck)
        assert used(stuck)[-1] == ("b", "there", True)
        assert [record.outcome for record in records] == ["answered"] * 3

    with_two(llm, other, script)


def test_the_other_server_speaks_and_listens_where_this_one_cannot(other: Served) -> None:
    async def script() -> None:
        clock = SystemClock()
        mute = member("local", ScriptedTts(24_000), stage="tts", clock=clock)
        deaf = member("local", ScriptedAsr([""]), stage="asr", clock=clock)
        mute.breaker = deaf.breaker = Breaker(is_out=True, until_ns=0)
        tts = OpenAiTts(f"{other.url}/v1", SpeechServer("any", "any"))
        asr = OpenAiAsr(f"{other.url}/v1", ListeningServer("any"))
        voices = TtsPool(roster([mute, member("b", tts, stage="tts", clock=clock)], clock=clock))
        ears = AsrPool(roster([deaf, member("b", asr, stage="asr", clock=clock)], clock=clock))
        log = Log()
        async with aclosing(voices.speak(SpeechRequest("Can you hear me?", trail=log))) as frames:
            said = [frame async for frame in frames]
        assert "".join(frame.text for frame in said) == "Can you hear me?"
        assert [(use.stage, use.replica, use.won) for use in log.uses] == [("tts", "b", True)]
        async with aclosing(spoken()) as sounds, aclosing(ears.transcribe(sounds)) as transcripts:
            heard = [transcript async for transcript in transcripts]
        assert heard[-1].text
        assert heard[-1].use is not None
        assert heard[-1].use.replica == "b"
        await tts.close()
        await asr.close()

    asyncio.run(script())


async def spoken() -> AsyncGenerator[AudioFrame | Pause, None]:
    pcm = question()
    for at in range(0, len(pcm), 320):
        yield AudioFrame(pcm[at : at + 320], at, 0)


def test_the_other_server_dies_in_mid_answer_and_the_turn_says_so_and_the_next_is_answered(
    llm: ChatServer, far: ChatServer, other: Served, records: list[TurnRecord]
) -> None:
    async def script(port: int) -> None:
        llm.mode, far.mode = "refuses", "half"
        heard = asyncio.Event()

        async def kill() -> None:
            await heard.wait()
            await asyncio.to_thread(other.kill)

        async with caller(port) as peer, Scope() as scope:
            scope.start(kill(), name="kill")
            assert "talking" not in await ask(peer, heard), "the words were not all there"
            llm.mode = "ok"
            assert await ask(peer) == HERE
        await until(lambda: len(records) == 2, "the ledger has both turns")
        assert records[0].outcome == "failed"
        assert used(records[0])[-1] == ("b", "there", True)
        assert (records[1].outcome, used(records[1])) == ("answered", [("local", "here", True)])

    with_two(llm, other, script)


def test_the_other_server_dies_before_a_token_and_the_turn_is_answered_here(
    llm: ChatServer, far: ChatServer, other: Served, records: list[TurnRecord]
) -> None:
    async def script(port: int) -> None:
        llm.mode, far.mode = "refuses", "stuck"

        n_before = len(far.bodies)

        async def kill() -> None:
            await until(lambda: len(far.bodies) > n_before, "the other server is at work")
            llm.mode = "ok"
            await asyncio.to_thread(other.kill)

        async with caller(port) as peer, Scope() as scope:
            scope.start(kill(), name="kill")
            assert HERE in await ask(peer)
        await until(lambda: records, "the ledger has the turn")
        assert records[0].outcome == "answered"
        assert used(records[0])[-2:] == [("b", "there", False), ("local", "here", True)]

    with_two(llm, other, script)
