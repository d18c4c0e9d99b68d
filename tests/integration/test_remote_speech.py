"""Speech engines that run elsewhere, against a server that does whatever a test wants, over real sockets."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect

from tests.support.served import served
from tests.support.server import with_server
from tests.support.speech import frames_of, hiss, silence
from voicestack.aio.clock import SystemClock
from voicestack.aio.prefetch import Channel
from voicestack.config.load import load
from voicestack.core.audio import EAR_RATE_HZ, AudioFrame, Pcm, SpokenFrame
from voicestack.core.deadline import LIMIT_HEADER, TARGET_HEADER, Deadline
from voicestack.core.errors import (
    ConfigError,
    StageError,
    StageExpired,
    StageOverloaded,
    StageRejected,
    StageTimeout,
    StageUnavailable,
)
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.resample import Resampler
from voicestack.core.wav import find_sound
from voicestack.engines.openai_asr import ListeningServer, OpenAiAsr
from voicestack.engines.openai_tts import OpenAiTts, SpeechServer
from voicestack.ports import PAUSE, Certainty, Pause, SpeechRequest, Transcript
from voicestack.server.assembly import assemble
from voicestack.server.readiness import question

LIMIT_S = 20.0
SOON_MS = 100
"""A deadline that is meant to pass."""
SPEECH = SpeechServer("m", "alloy", voices=("nova",), first_ms=10_000, gap_ms=10_000)
LISTENING = ListeningServer("m", deadline_ms=10_000)
PCM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: audio/pcm\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
TONE: Pcm = (10_000 * np.sin(np.arange(24_000) / 10)).astype(np.int16)
"""A second of sound."""
TALK = hiss(1000, -20)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Peer:
    """One connection, seen from the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.head, self.body = "", b""

    async def request(self) -> bool:
        try:
            self.head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            n_bytes = int(self.head.lower().split("content-length: ")[1].split("\r\n")[0])
            self.body = await self._reader.readexactly(n_bytes)
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        return True

    @property
    def wish(self) -> Any:
        return json.loads(self.body)

    @property
    def pcm(self) -> Pcm:
        """The sound in a form."""
        file = self.body[self.body.index(b"RIFF") :]
        sound = find_sound(file)
        return np.frombuffer(file[sound.start_bytes : sound.end_bytes], "<i2")

    def field(self, name: str) -> str | None:
        """A field of a form."""
        _, found, rest = self.body.partition(b'name="%s"\r\n\r\n' % name.encode())
        return rest.partition(b"\r\n")[0].decode() if found else None

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()

    async def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        await self.send(head.encode(), body)

    async def say(self, text: str) -> None:
        await self.answer(200, json.dumps({"text": text}).encode())

    async def gone(self) -> None:
        """Wait until the client hangs up."""
        with suppress(ConnectionError):
            assert await self._reader.read() == b""

    def cut(self) -> None:
        self._writer.close()


@dataclass
class Server:
    """The address, and how many requests have come."""

    url: str
    n_requests: int = 0


Play = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def serving(play: Play) -> AsyncIterator[Server]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        try:
            while await peer.request():
                found.n_requests += 1
                await play(peer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    found = Server(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    try:
        yield found
    finally:
        listening.close()


@asynccontextmanager
async def voice(play: Play, **changes: Any) -> AsyncIterator[tuple[OpenAiTts, Server]]:
    async with asyncio.timeout(LIMIT_S), serving(play) as server:
        tts = OpenAiTts(server.url, replace(SPEECH, **changes), api_key="sesame")
        try:
            yield tts, server
        finally:
            await tts.close()


@asynccontextmanager
async def ear(play: Play, **changes: Any) -> AsyncIterator[tuple[OpenAiAsr, Server]]:
    async with asyncio.timeout(LIMIT_S), serving(play) as server:
        asr = OpenAiAsr(server.url, replace(LISTENING, **changes), api_key="sesame")
        try:
            yield asr, server
        finally:
            await asr.close()


async def spoken(tts: OpenAiTts, got: list[SpokenFrame] | None = None, **wish: Any) -> list[SpokenFrame]:
    got = [] if got is None else got
    async with aclosing(tts.speak(SpeechRequest(**({"text": "Good morning."} | wish)))) as frames:
        async for frame in frames:
            got.append(frame)
    return got


async def sounds_of(*sounds: Pcm | Pause) -> AsyncIterator[AudioFrame | Pause]:
    for sound in sounds:
        if isinstance(sound, Pause):
            yield sound
        else:
            for frame in frames_of(sound):
                yield frame


async def until_answered(asr: OpenAiAsr) -> None:
    for _ in range(5):
        await asyncio.sleep(0)
    while asr.figures()["open_requests"]:  # noqa: ASYNC110 (figures are no event)
        await asyncio.sleep(0.001)


async def heard(asr: OpenAiAsr, *sounds: Pcm | Pause, hints: Hints = NO_HINTS) -> list[Transcript]:
    """Sounds that come no faster than pauses are answered."""

    async def breathing() -> AsyncIterator[AudioFrame | Pause]:
        async for one in sounds_of(*sounds):
            yield one
            if isinstance(one, Pause):
                await until_answered(asr)

    got: list[Transcript] = []
    await keep(asr.transcribe(breathing(), hints), got)
    return got


async def keep(transcripts: AsyncGenerator[Transcript, None], got: list[Transcript]) -> None:
    async with aclosing(transcripts):
        async for one in transcripts:
            got.append(one)


def sound(frames: list[SpokenFrame]) -> Pcm:
    return np.concatenate([frame.pcm for frame in frames])


async def say_tone(peer: Peer) -> None:
    await peer.send(PCM_HEAD, chunk(TONE.tobytes()), END)


def test_what_is_asked_of_a_voice() -> None:
    seen: list[tuple[str, Any]] = []

    async def play(peer: Peer) -> None:
        seen.append((peer.head.lower(), peer.wish))
        await say_tone(peer)

    async def main() -> None:
        async with voice(play) as (tts, server):
            assert tts.rate_hz == 24_000
            await spoken(tts)
            await spoken(tts, text="bad \ud800 one", voice="nova", speed=9.0)
            await spoken(tts, voice="../../etc/passwd")
            assert [frame.text for frame in await spoken(tts, text=" ... ")] == [" ... "]
            assert tts.figures()["requests_total"] == server.n_requests == 3
        head, wish = seen[0]
        assert head.startswith("post /v1/audio/speech ")
        assert "authorization: bearer sesame" in head
        plain = {"model": "m", "voice": "alloy", "input": "Good morning.", "response_format": "pcm"}
        assert wish == plain
        assert seen[1][1] == plain | {"input": "bad   one", "voice": "nova", "speed": 4.0}
        assert seen[2][1] == plain

    asyncio.run(main())


def left_ms(peer: Peer, name: str) -> int | None:
    """What a header says is left."""
    _, found, rest = peer.head.lower().partition(f"\r\n{name}: ")
    return int(rest.partition("\r\n")[0]) if found else None


def test_a_voice_is_told_what_is_left_of_the_turn() -> None:
    seen: list[int | None] = []

    async def play(peer: Peer) -> None:
        seen.append(left_ms(peer, LIMIT_HEADER))
        await say_tone(peer)

    async def main() -> None:
        now_ns = SystemClock().now_ns()
        deadline = Deadline(now_ns + 30_000_000_000, now_ns + 60_000_000_000)
        async with voice(play) as (tts, _):
            await spoken(tts, deadline=deadline)
            await spoken(tts, deadline=deadline, follows=True)
        assert seen[0] is not None
        assert 30_000 < seen[0] <= 60_000
        assert seen[1] is None, "what follows need not begin in time"

    asyncio.run(main())


def test_a_first_sound_that_nobody_wants_any_more_is_not_waited_for() -> None:
    async def play(peer: Peer) -> None:
        await peer.send(PCM_HEAD)
        await peer.gone()

    async def main() -> None:
        now_ns = SystemClock().now_ns()
        async with voice(play) as (tts, server):
            for limit_ms in (100, 0):
                with pytest.raises(StageExpired):
                    await spoken(tts, deadline=Deadline(now_ns, now_ns + limit_ms * 1_000_000))
            assert tts.figures()["expired_total"] == 2
            assert server.n_requests == 1, "what has expired is not sent"

    asyncio.run(main())


def test_a_phrase_that_is_heard_is_not_broken_off() -> None:
    async def play(peer: Peer) -> None:
        await peer.send(PCM_HEAD, chunk(TONE.tobytes()))
        await asyncio.sleep(0.5)
        await peer.send(chunk(TONE.tobytes()), END)

    async def main() -> None:
        now_ns = SystemClock().now_ns()
        async with voice(play) as (tts, _):
            frames = await spoken(tts, deadline=Deadline(now_ns, now_ns + 300_000_000))
            assert len(sound(frames)) > 1.5 * len(TONE)

    asyncio.run(main())


def test_a_recogniser_is_told_how_long_it_is_waited_for() -> None:
    seen: list[tuple[int | None, int | None]] = []

    async def play(peer: Peer) -> None:
        seen.append((left_ms(peer, TARGET_HEADER), left_ms(peer, LIMIT_HEADER)))
        await peer.say("hello")

    async def main() -> None:
        async with ear(play, due_ms=6_000) as (asr, _):
            await heard(asr, TALK)
        ((target_ms, limit_ms),) = seen
        assert target_ms is not None
        assert limit_ms is not None
        assert 3_000 < target_ms <= 6_000 < limit_ms <= 10_000

    asyncio.run(main())


@pytest.mark.parametrize("n_chunk", [1, 3, 1001, 100_000])
def test_the_sound_is_what_was_sent_however_it_is_cut(n_chunk: int) -> None:
    pcm = TONE[:2400] if n_chunk == 1 else TONE
    data = np.concatenate([np.zeros(9_600, np.int16), pcm, np.zeros(9_600, np.int16)]).tobytes() + b"\x01"

    async def play(peer: Peer) -> None:
        parts = [chunk(data[at : at + n_chunk]) for at in range(0, len(data), n_chunk)]
        await peer.send(PCM_HEAD + b"".join(parts) + END)

    async def main() -> None:
        async with voice(play) as (tts, _):
            frames = await spoken(tts)
            assert "".join(frame.text for frame in frames) == "Good morning."
            assert all(len(frame.pcm) <= 480 for frame in frames)
            loud = np.flatnonzero(sound(frames))
            assert loud[0] <= 121, "5 ms"
            begin = int(np.flatnonzero(pcm)[0])
            assert np.array_equal(
                sound(frames)[loud[0] : loud[-1] + 1], pcm[begin : begin + np.ptp(loud) + 1]
            )
            assert abs(len(sound(frames)) - len(pcm) - 120 - 2880) < 50, "the gap after a sentence"

    asyncio.run(main())


REFUSALS: list[tuple[int, type[StageError], int]] = [
    (503, StageOverloaded, 1),
    (429, StageOverloaded, 1),
    (401, StageRejected, 1),
    (404, StageRejected, 1),
    (302, StageRejected, 1),
    (408, StageTimeout, 1),
    (504, StageTimeout, 1),
    (500, StageUnavailable, 2),
]


@pytest.mark.parametrize(("status", "error", "n_requests"), REFUSALS)
def test_a_refusal_has_a_meaning(status: int, error: type[StageError], n_requests: int) -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(status, b'{"error": {"message": "no such thing"}}')

    async def main() -> None:
        async with voice(play) as (tts, server):
            with pytest.raises(error, match="no such thing") as caught:
                await spoken(tts)
            assert (type(caught.value), caught.value.stage) == (error, "tts")
            assert server.n_requests == n_requests
        async with ear(play) as (asr, server):
            with pytest.raises(error, match="no such thing") as caught:
                await heard(asr, TALK)
            assert (type(caught.value), caught.value.stage) == (error, "asr")
            assert server.n_requests == n_requests
            assert asr.figures()["full_total"] == (error is StageOverloaded)
            assert asr.figures()["failed_total"] == n_requests

    asyncio.run(main())


def test_nobody_there() -> None:
    async def main() -> None:
        async with serving(say_tone) as server:
            url = server.url
        tts, asr = OpenAiTts(url, SPEECH), OpenAiAsr(url, LISTENING)
        for failing in (spoken(tts), heard(asr, TALK)):
            with pytest.raises(StageUnavailable, match="lost http"):
                await failing
        await tts.close()
        await asr.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "answer",
    [b"", PCM_HEAD, PCM_HEAD + chunk(bytes(4_800)), b"not HTTP at all\r\n\r\n"],
    ids=["nothing", "head", "silence", "garbage"],
)
def test_what_breaks_before_it_is_heard_is_tried_once_more(answer: bytes) -> None:
    async def play(peer: Peer) -> None:
        n_asked.append(1)
        if len(n_asked) <= n_failures:
            await peer.send(answer)
            peer.cut()
        else:
            await say_tone(peer)

    async def main() -> None:
        async with voice(play) as (tts, _):
            frames = await spoken(tts)
            assert abs(len(sound(frames)) - len(TONE) - 2880) < 200, "and not twice"
            assert tts.figures()["retried_total"] == 1

    async def in_vain() -> None:
        async with voice(play) as (tts, server):
            with pytest.raises(StageUnavailable):
                await spoken(tts)
            assert server.n_requests == 2

    n_asked, n_failures = list[int](), 1
    asyncio.run(main())
    n_asked, n_failures = [], 9
    asyncio.run(in_vain())


def test_what_breaks_in_mid_phrase_is_not_said_again() -> None:
    async def play(peer: Peer) -> None:
        await peer.send(PCM_HEAD, chunk(TONE.tobytes()))
        peer.cut()

    async def main() -> None:
        async with voice(play) as (tts, server):
            with pytest.raises(StageUnavailable):
                await spoken(tts)
            assert server.n_requests == 1

    asyncio.run(main())


@pytest.mark.parametrize("begins", [b"", PCM_HEAD, PCM_HEAD + chunk(TONE.tobytes())])
def test_a_voice_that_hangs_is_given_up(begins: bytes) -> None:
    gone = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.send(begins)
        await peer.gone()
        gone.set()

    async def main() -> None:
        in_mid_phrase = len(begins) > 200
        limits = {"first_ms": 60_000, "gap_ms": 60_000} | {"gap_ms" if in_mid_phrase else "first_ms": SOON_MS}
        async with voice(play, **limits) as (tts, server):
            with pytest.raises(StageTimeout, match="go on" if in_mid_phrase else "answer"):
                await spoken(tts)
            await gone.wait()
            assert server.n_requests == 1
            assert tts.figures()["stopped_total"] == 1
            assert tts.figures()["open_requests"] == 0

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["application/json", "text/html; charset=utf-8", "audio/mpeg", "audio/wav"])
def test_what_is_no_pcm_is_not_played(kind: str) -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(200, TONE.tobytes(), kind)

    async def main() -> None:
        async with voice(play) as (tts, _):
            with pytest.raises(StageRejected, match=kind[:9]):
                await spoken(tts)

    asyncio.run(main())


def test_a_voice_that_says_nothing_or_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicestack.engines.openai_tts.MAX_SOUND_S", 2.0)

    async def silent(peer: Peer) -> None:
        await peer.send(PCM_HEAD, chunk(bytes(4_800)), END)

    async def endless(peer: Peer) -> None:
        await peer.send(PCM_HEAD)
        while True:
            await peer.send(chunk(TONE.tobytes()))

    async def main() -> None:
        async with voice(silent) as (tts, server):
            with pytest.raises(StageUnavailable, match="says nothing"):
                await spoken(tts)
            assert server.n_requests == 2
        async with voice(endless) as (tts, _):
            with pytest.raises(StageUnavailable, match="does not stop"):
                await spoken(tts)

    asyncio.run(main())


def test_the_first_sound_does_not_wait_for_the_rest_and_closing_hangs_up() -> None:
    gone = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.send(PCM_HEAD, chunk(TONE[:600].tobytes()))
        await peer.gone()
        gone.set()

    async def main() -> None:
        async with voice(play) as (tts, _):
            async with aclosing(tts.speak(SpeechRequest("Good morning."))) as frames:
                assert len((await anext(frames)).pcm) == 480
            await gone.wait()

    asyncio.run(main())


def test_a_slow_listener_does_not_keep_the_server_busy() -> None:
    sent = asyncio.Event()

    async def play(peer: Peer) -> None:
        for _ in range(60):
            await peer.send(PCM_HEAD if not sent.is_set() and peer.head else b"", chunk(TONE.tobytes()))
            peer.head = ""
        await peer.send(END)
        sent.set()

    async def main() -> None:
        request = SpeechRequest("A long story. " * 30)
        async with voice(play) as (tts, _), aclosing(tts.speak(request)) as frames:
            await anext(frames)
            await sent.wait()  # a minute of sound, more than any socket's buffer

    asyncio.run(main())


def test_connections_are_kept_and_a_dead_one_is_no_failure() -> None:
    peers: list[Peer] = []

    async def play(peer: Peer) -> None:
        peers.append(peer)
        await say_tone(peer)

    async def main() -> None:
        async with voice(play) as (tts, _):
            await spoken(tts)
            await spoken(tts)
            assert peers[0] is peers[1]
            peers[0].cut()
            await spoken(tts)
            assert peers[2] is not peers[0]

    asyncio.run(main())


def test_what_is_asked_of_an_ear() -> None:
    seen: list[tuple[str, Pcm, list[str | None]]] = []

    async def play(peer: Peer) -> None:
        fields = [peer.field(name) for name in ("model", "language", "response_format", "prompt")]
        seen.append((peer.head.lower(), peer.pcm, fields))
        await peer.say(f" words {len(seen)} ")

    async def main() -> None:
        async with ear(play, language="de") as (asr, _):
            hinted = await heard(asr, TALK, hints=Hints("fr", "Ada, Nginx."))
            assert [(one.text, one.language) for one in hinted] == [("words 1", "fr")]
            assert seen.pop()[2] == ["m", "fr", "json", "Ada, Nginx."]
            got = await heard(asr, silence(1000), TALK, PAUSE, silence(500))
            assert {one.language for one in got} == {"de"}
            assert [(one.text, one.certainty) for one in got] == [
                ("words 1", Certainty.SETTLED),
                ("words 1", Certainty.FINAL),
            ]
        ((head, pcm, fields),) = seen
        assert head.startswith("post /v1/audio/transcriptions ")
        assert "authorization: bearer sesame" in head
        assert fields == ["m", "de", "json", None]
        assert np.array_equal(pcm, np.concatenate([silence(300), TALK])), "300 ms before the first sound"

    asyncio.run(main())


def test_a_hint_that_is_refused_is_left_out() -> None:
    async def play(peer: Peer) -> None:
        languages.append(peer.field("language"))
        if peer.field("language") == "fr":
            await peer.answer(400, b'{"error": {"code": "unsupported_language"}}')
        else:
            await peer.say("words")

    async def main() -> None:
        async with ear(play) as (asr, _):
            sounds: list[Pcm | Pause] = [TALK, silence(100), PAUSE, TALK]
            got = await heard(asr, *sounds, hints=Hints("fr", "Ada"))
            assert [(one.text, one.language) for one in got] == [("words", "")] * 2

    languages: list[str | None] = []
    asyncio.run(main())
    assert languages == ["fr", None, None]


def test_an_utterance_that_goes_on_is_sent_again_but_not_for_ever() -> None:
    sent: list[tuple[int, str | None]] = []

    async def play(peer: Peer) -> None:
        sent.append((len(peer.pcm), peer.field("prompt")))
        await peer.say("abcdef"[len(sent) - 1])

    async def main() -> None:
        async with ear(play, window_s=2.5) as (asr, _):
            three: list[Pcm | Pause] = [TALK, silence(100), PAUSE] * 3
            got = await heard(asr, *three, hiss(500, -20, seed=1))
        assert [one.text for one in got] == ["a", "b", "c", "c d"]
        assert [one.sure for one in got] == ["", "", "c", "c"]
        assert sent == [(17_600, None), (35_200, None), (52_800, None), (8_000, "c")]
        assert all(one.words == () for one in got)

    asyncio.run(main())


def test_no_sound_is_no_request() -> None:
    async def play(peer: Peer) -> None:
        raise AssertionError("asked")

    async def main() -> None:
        async with ear(play, partial_ms=100) as (asr, server):
            got = await heard(asr, silence(1000), PAUSE, silence(100))
            assert [(one.text, one.certainty) for one in got] == [
                ("", Certainty.SETTLED),
                ("", Certainty.FINAL),
            ]
            assert server.n_requests == 0

    asyncio.run(main())


def test_a_newer_question_takes_the_older_one_back() -> None:
    gone, asked = asyncio.Event(), asyncio.Event()

    async def play(peer: Peer) -> None:
        if not asked.is_set():
            asked.set()
            await peer.gone()
            gone.set()
        else:
            await gone.wait()
            await peer.say("all of it")

    async def sounds() -> AsyncIterator[AudioFrame | Pause]:
        async for one in sounds_of(TALK, silence(100), PAUSE):
            yield one
        await asked.wait()
        async for one in sounds_of(TALK):
            yield one

    async def main() -> None:
        async with ear(play) as (asr, server):
            async with aclosing(asr.transcribe(sounds())) as transcripts:
                got = [one.text async for one in transcripts]
            assert got[-1] == "all of it"
            assert server.n_requests == 2

    asyncio.run(main())


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"text": 5}', b'{"words": "a"}', b"\xff"])
def test_an_answer_without_words_is_none(answer: bytes) -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(200, answer)

    async def main() -> None:
        async with ear(play) as (asr, server):
            with pytest.raises(StageUnavailable, match=f"{len(answer)} bytes"):
                await heard(asr, TALK)
            assert server.n_requests == 2

    asyncio.run(main())


def test_an_ear_that_hangs_is_given_up_and_closing_hangs_up() -> None:
    gone = Channel[int](10, name="gone")

    async def play(peer: Peer) -> None:
        asked.set()
        await peer.gone()
        gone.put(1)

    async def main() -> None:
        async with ear(play, deadline_ms=SOON_MS) as (asr, _):
            with pytest.raises(StageTimeout, match="no words within"):
                await heard(asr, TALK)
            await anext(aiter(gone))
        asked.clear()
        async with ear(play, partial_ms=200) as (asr, _):
            sounds: Channel[AudioFrame | Pause] = Channel(100, name="sounds")
            for frame in frames_of(TALK):
                sounds.put(frame)
            async with aclosing(asr.transcribe(sounds)) as transcripts:
                first = asyncio.ensure_future(anext(transcripts))  # noqa: TID251 (as a session's task does)
                await asked.wait()
                first.cancel()
                await asyncio.wait([first])
            await anext(aiter(gone))
            assert asr.figures()["open_requests"] == 0

    asked = asyncio.Event()
    asyncio.run(main())


def test_partial_words_are_only_partial() -> None:
    """What fails of them is not missed."""
    n_asked: list[int] = []

    async def play(peer: Peer) -> None:
        n_asked.append(len(peer.pcm))
        if len(n_asked) % 2:
            await peer.answer(503, b"")
        else:
            await peer.say("so far")

    async def sounds(asr: OpenAiAsr) -> AsyncIterator[AudioFrame | Pause]:
        async for one in sounds_of(TALK, TALK):
            yield one
            await until_answered(asr)

    async def main() -> None:
        async with ear(play, partial_ms=500, window_s=0.75) as (asr, _):
            got: list[Transcript] = []
            with pytest.raises(StageOverloaded):  # the end's, which is an odd one too
                await keep(asr.transcribe(sounds(asr)), got)
            assert [(one.text, one.certainty) for one in got] == [("so far", Certainty.PARTIAL)]

    asyncio.run(main())
    assert n_asked == [8_000, 16_000, 24_000, 32_000, 32_000]


@pytest.mark.parametrize("stage", ["asr", "tts"])
def test_an_address_is_needed(stage: str) -> None:
    config = load("scripted", env={}, sets=[f"{stage}.engine=openai"]).config
    with pytest.raises(ConfigError, match=rf"{stage}_server\.url is needed when {stage}\.engine is 'openai'"):
        assemble(config, SystemClock())


def test_a_turn_with_ears_and_voice_elsewhere(tmp_path: Path) -> None:
    """A question is asked of a server whose speech engines are those of another one."""
    engines = ("vad.engine=silero", "asr.engine=pocketsphinx", "tts.engine=espeak")

    async def ask(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/v1/realtime", max_size=None) as ws:
            pcm = Resampler(EAR_RATE_HZ, 24_000).push(np.concatenate([question(), silence(1000)]))
            for at in range(0, len(pcm), 480):
                audio = base64.b64encode(pcm[at : at + 480].tobytes()).decode()
                await ws.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
                await asyncio.sleep(0.01)  # the ears keep 300 ms for the VAD to look at
            events: list[dict[str, Any]] = []
            while not events or events[-1]["type"] != "response.done":
                events.append(json.loads(await ws.recv()))
        by_type = {event["type"]: event for event in events}
        heard = by_type["conversation.item.input_audio_transcription.completed"]["transcript"]
        assert "capital of france" in heard.lower()
        said = by_type["response.output_audio_transcript.done"]["transcript"]
        assert said == "It is Paris, as far as I know."
        parts = [e["delta"] for e in events if e["type"] == "response.output_audio.delta"]
        sounded = np.frombuffer(b"".join(map(base64.b64decode, parts)), "<i2")
        replica.check_said(said, sounded, 24_000)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            metrics = (await client.get("/metrics")).text
            models = [one["id"] for one in (await client.get("/v1/models")).json()["data"]]
        for stage in ("asr", "tts"):
            assert f'voicestack_engine_counts_total{{engine="{stage}",figure="requests"}}' in metrics
            assert f'voicestack_engine_counts_total{{engine="{stage}",figure="failed"}} 0.0' in metrics
        assert models == ["whisper-1", "scripted", "tts-1"]

    with served(tmp_path, "scripted", engines) as replica:
        with_server(
            ask,
            sets=(
                *("vad.engine=silero", "asr.engine=openai", "tts.engine=openai"),
                *(f"asr_server.url={replica.url}/v1", f"tts_server.url={replica.url}/v1"),
                "ladder.enforce=false",  # nothing here is about time
                *('llm.answers=["It is Paris, as far as I know."]', "budget.readiness_turn_ms=20000"),
            ),
        )
