"""What does a client get when a stage works, and when it does not?"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.types import Message

from tests.support.openapi import Described, events
from voicestack.aio.clock import SystemClock
from voicestack.config.load import load
from voicestack.core.audio import AudioFrame, SpokenFrame
from voicestack.core.deadline import LIMIT_HEADER, TARGET_HEADER
from voicestack.core.errors import (
    ConfigError,
    Overloaded,
    PeerProtocolError,
    StageError,
    StageExpired,
    StageRejected,
    StageTimeout,
    StageUnavailable,
    VoiceStackError,
)
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.engines.scripted import EnergyVad, ScriptedAsr, ScriptedLlm, ScriptedTts
from voicestack.ports import Asr, Certainty, Pause, SpeechRequest, Transcript, Tts
from voicestack.server.openapi import document, openapi_route
from voicestack.server.readiness import question
from voicestack.server.stages.errors import STATUSES, told
from voicestack.server.stages.listening import Piece
from voicestack.server.stages.models_api import models_of
from voicestack.server.stages.routes import stage_routes
from voicestack.server.stages.speech_api import spoken_phrases
from voicestack.server.stages.transcripts import written
from voicestack.session.tuning import Engines
from voicestack.telemetry.metrics import Metrics

PIECES = [Piece("Hello there.", 0.5, 1.25, 0.9), Piece("a --> b", 3600.0, 3723.0456, 0.5)]


class BreakingTts:
    """Satisfies `ports.Tts`: breaks after so many frames."""

    rate_hz = 24_000

    def __init__(self, n_frames: int, error: StageError) -> None:
        self._n_frames, self._error = n_frames, error

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        for _ in range(self._n_frames):
            yield SpokenFrame(np.full(480, 1000, np.int16), "a")
        raise self._error


class BreakingAsr:
    """Satisfies `ports.Asr`: hears one utterance, then breaks."""

    def __init__(self) -> None:
        self._good = ScriptedAsr(["first"])

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        if self._good.n_utterances:
            raise StageUnavailable("pocketsphinx-0 is gone, see /var/log", stage="asr")
        async for transcript in self._good.transcribe(sounds, hints):
            yield transcript


class Bench:
    """The routes of the stages over engines of one's own, without a server."""

    def __init__(self, *, tts: Tts | None = None, asr: Asr | None = None, sets: tuple[str, ...] = ()) -> None:
        config = load("scripted", env={}, sets=sets).config
        engines = Engines(
            EnergyVad(), asr or ScriptedAsr(["hello world"]), ScriptedLlm(["x"]), tts or ScriptedTts()
        )
        self.metrics = Metrics(version="0", profile="test")
        self.refusal: Overloaded | None = None
        routes = stage_routes(
            config,
            engines,
            clock=SystemClock(),
            metrics=self.metrics,
            admits=lambda: self.refusal,
            in_calls=lambda: False,
        )
        self.app = Starlette(routes=[*routes, openapi_route()])
        self.described = Described(document(self.app.routes))

    def post(self, path: str, **how: Any) -> httpx.Response:
        async def post() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.post(f"/v1/audio/{path}", **how)

        answer = asyncio.run(post())
        self.described.check(answer)
        return answer

    def say(
        self, *, limit_ms: str | None = None, target_ms: str | None = None, **fields: Any
    ) -> httpx.Response:
        left = {LIMIT_HEADER: limit_ms, TARGET_HEADER: target_ms}
        headers = {name: text for name, text in left.items() if text is not None}
        wish = {"model": "tts-1", "input": "Hello.", "response_format": "pcm", **fields}
        return self.post("speech", json=wish, headers=headers)

    def outcome(self, endpoint: str, outcome: str) -> bool:
        line = f'voicestack_stage_requests_total{{endpoint="{endpoint}",outcome="{outcome}"}} 1.0'
        return line in self.metrics.render()[0].decode()


ERRORS: list[tuple[VoiceStackError, int, str]] = [
    (PeerProtocolError("x", code="invalid_value"), 400, "invalid_value"),
    (PeerProtocolError("x", code="model_not_found"), 404, "model_not_found"),
    (PeerProtocolError("x", code="request_timeout"), 408, "request_timeout"),
    (PeerProtocolError("x", code="file_too_large"), 413, "file_too_large"),
    (PeerProtocolError("x", code="audio_too_long"), 413, "audio_too_long"),
    (PeerProtocolError("x", code="unsupported_media_type"), 415, "unsupported_media_type"),
    (Overloaded("x", retry_after_ms=1500), 503, "overloaded"),
    (StageUnavailable("x", stage="asr"), 503, "stage_unavailable"),
    (StageTimeout("x", stage="asr"), 504, "stage_timeout"),
    (StageExpired("x", stage="asr"), 504, "deadline_exceeded"),
    (StageRejected("x", stage="asr"), 502, "stage_rejected"),
    (StageError("x", stage="asr"), 502, "stage_failed"),
    (ConfigError("x"), 500, "config_invalid"),
]


@pytest.mark.parametrize(("error", "status", "code"), ERRORS)
def test_the_table_of_errors(error: VoiceStackError, status: int, code: str) -> None:
    row = told(error)
    assert (row.status, row.answer.error.code) == (status, code)
    assert (row.retry_after_s is not None) == (status in (503, 504))
    assert status in STATUSES


def test_retry_after_is_rounded_up() -> None:
    assert told(Overloaded("x", retry_after_ms=1500)).retry_after_s == 2


def test_an_engine_that_fails_at_once_has_a_status_and_keeps_its_secrets() -> None:
    bench = Bench(tts=BreakingTts(0, StageUnavailable("http://10.0.0.1 is gone", stage="tts")))
    answer = bench.say()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"] == {
        "message": "The tts engine is not available at the moment.",
        "type": "server_error",
        "param": None,
        "code": "stage_unavailable",
    }
    assert bench.outcome("speech", "failed")
    assert (
        b'voicestack_stage_failures_total{code="stage_unavailable",stage="tts"} 1.0'
        in bench.metrics.render()[0]
    )


class StuckTts:
    """Satisfies `ports.Tts`: says nothing, or no more than a little."""

    rate_hz = 24_000

    def __init__(self, n_frames: int = 0, *, then_s: float = 60.0) -> None:
        self._n_frames, self._then_s = n_frames, then_s
        self.requests: list[SpeechRequest] = []
        self.n_closed = 0

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        self.requests.append(request)
        try:
            for _ in range(self._n_frames):
                yield SpokenFrame(np.full(480, 1000, np.int16), "a")
            await asyncio.sleep(self._then_s)
        finally:
            self.n_closed += 1


def test_what_the_client_does_not_want_any_more_is_not_begun() -> None:
    tts = StuckTts()
    bench = Bench(tts=tts)
    answer = bench.say(limit_ms="0")
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert tts.requests == []
    assert bench.outcome("speech", "failed")


def test_work_whose_limit_passes_is_stopped() -> None:
    tts = StuckTts()
    answer = Bench(tts=tts).say(limit_ms="150", target_ms="20")
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert tts.n_closed == len(tts.requests) == 1
    deadline = tts.requests[0].deadline
    assert deadline is not None, "the engine is told, too"
    assert deadline.limit_ns - deadline.target_ns == 130_000_000


class StuckAsr:
    """Satisfies `ports.Asr`: hears, and says nothing."""

    n_closed = 0

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        try:
            async for _ in sounds:
                pass
            await asyncio.sleep(60)
            yield Transcript("too late", Certainty.FINAL)
        finally:
            self.n_closed += 1


def test_a_recogniser_is_not_kept_busy_for_nobody() -> None:
    asr = StuckAsr()
    sent = {"files": {"file": ("a.wav", two_utterances())}, "data": {"model": "whisper-1"}}
    answer = Bench(asr=asr).post("transcriptions", headers={LIMIT_HEADER: "400"}, **sent)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert asr.n_closed == 1


def test_a_file_that_has_begun_is_finished() -> None:
    answer = Bench(tts=StuckTts(2, then_s=0.3)).say(limit_ms="200")
    assert answer.status_code == 200
    assert len(answer.content) > 1_000


@pytest.mark.parametrize("kind", ["pcm", "wav", "mp3"])
def test_speech_that_breaks_off_never_ends(kind: str) -> None:
    """ASGI servers close a connection whose answer is not complete; clients report that."""
    bench = Bench(tts=BreakingTts(200, StageTimeout("x", stage="tts")))
    sent: list[Message] = []
    body = f'{{"input": "Hello.", "response_format": "{kind}"}}'.encode()
    incoming: list[Message] = [{"type": "http.request", "body": body}]

    async def receive() -> Message:
        if incoming:
            return incoming.pop()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/audio/speech", "headers": [], "query_string": b""}
    asyncio.run(bench.app(scope, receive, send))
    if kind == "mp3":  # what was read from the encoder before the end may be nothing
        assert sent[-1].get("more_body") is not False or sent[0]["status"] == 504
    else:
        assert sent[0]["status"] == 200
        assert all(message["more_body"] for message in sent[1:])
        assert len(sent) == 201
    assert bench.outcome("speech", "failed")


def test_events_that_break_off_end_with_the_error() -> None:
    bench = Bench(tts=BreakingTts(3, StageTimeout("x", stage="tts")))
    seen = events(bench.say(stream_format="sse").text)
    assert [event.get("type") for event in seen] == ["speech.audio.delta"] * 3 + [None]
    assert seen[-1]["error"]["code"] == "stage_timeout"


def two_utterances() -> bytes:
    header = (
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0data\xff\xff\xff\xff"
    )
    return header + question().tobytes() + bytes(32_000) + question().tobytes()


def test_a_transcription_that_breaks_off_ends_with_the_error_or_is_one() -> None:
    files = {"file": ("a.wav", two_utterances())}
    seen = events(Bench(asr=BreakingAsr()).post("transcriptions", files=files, data={"stream": "true"}).text)
    assert seen[0] == {"type": "transcript.text.delta", "delta": "first"}
    assert seen[1]["error"]["message"] == "The asr engine is not available at the moment."
    assert len(seen) == 2
    answer = Bench(asr=BreakingAsr()).post("transcriptions", files=files)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "stage_unavailable")


class PolyglotAsr:
    """Satisfies `ports.Asr`: says in which language, and after which prompt, it heard."""

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        async for _ in sounds:
            pass
        yield Transcript(f"after {hints.prompt}", Certainty.FINAL, language=hints.language or "fi")


@pytest.mark.parametrize(
    ("data", "language", "text"),
    [
        ({"language": "pt-BR", "prompt": "Nginx"}, "pt", "after Nginx after Nginx"),
        ({}, "fi", "after after"),
    ],
)
def test_a_recording_is_heard_with_its_hints(data: dict[str, str], language: str, text: str) -> None:
    bench = Bench(asr=PolyglotAsr(), sets=("asr.engine=whisper", "whisper.model=small"))
    files = {"file": ("a.wav", two_utterances())}
    verbose = {"response_format": "verbose_json", **data}
    answer = bench.post("transcriptions", files=files, data=verbose)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["language"], answer.json()["text"]) == (language, text)


@pytest.mark.parametrize(("model", "language"), [("small", "tlh"), ("base.en", "de")])
def test_a_language_that_whisper_does_not_know_is_refused(model: str, language: str) -> None:
    bench = Bench(asr=PolyglotAsr(), sets=("asr.engine=whisper", f"whisper.model={model}"))
    files = {"file": ("a.wav", two_utterances())}
    answer = bench.post("transcriptions", files=files, data={"language": language})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "unsupported_language", "language")


def test_who_is_not_admitted_knows_when_to_come_back() -> None:
    bench = Bench()
    bench.refusal = Overloaded("not ready: starting", retry_after_ms=1000)
    answer = bench.say()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "overloaded"
    assert bench.outcome("speech", "refused")


def test_phrases_are_spoken_as_people_would_say_them() -> None:
    text = "# Title\n**Bold** words, and `code` too. See https://x.org/a now! \N{GRINNING FACE}"
    assert " ".join(spoken_phrases(text)) == "Title Bold words, and code too. See x.org/a now!"
    assert spoken_phrases("... \N{GRINNING FACE} ---") == []


@pytest.mark.parametrize(
    ("voice", "wanted"), [("alloy", "alloy"), ({"id": "en-gb"}, "en-gb"), (None, "default")]
)
def test_the_voice_is_asked_for_what_the_client_wants(voice: Any, wanted: str) -> None:
    tts = ScriptedTts()
    fields = {} if voice is None else {"voice": voice}
    assert Bench(tts=tts).say(speed=2.0, **fields).status_code == 200
    assert tts.requests == [SpeechRequest("Hello.", wanted, 2.0)]
    assert tts.closed == tts.requests


def test_subtitles() -> None:
    assert written("srt", PIECES, 4000, "en") == (
        "1\n00:00:00,500 --> 00:00:01,250\nHello there.\n\n2\n01:00:00,000 --> 01:02:03,046\na -> b\n"
    )
    assert written("vtt", PIECES[:1], 2, "en") == "WEBVTT\n\n00:00:00.500 --> 00:00:01.250\nHello there.\n"
    assert written("vtt", [], 2, "en") == "WEBVTT\n"
    assert written("srt", [], 2, "en") == ""
    assert written("text", PIECES, 2, "en") == "Hello there. a --> b\n"


@pytest.mark.parametrize(
    ("profile", "sets", "ids"),
    [
        ("scripted", (), ["scripted-asr", "scripted-llm", "scripted-tts"]),
        ("embedded", (), ["pocketsphinx", "SmolLM2-135M-Instruct", "espeak"]),
        (
            "embedded",
            ("llm.model=/models/Qwen3-1.7B-Q8_0.gguf",),
            ["pocketsphinx", "Qwen3-1.7B-Q8_0", "espeak"],
        ),
        (
            "embedded",
            ("llm.engine=openai", "llm.url=http://h:1/v1", "llm.model=org/m"),
            ["pocketsphinx", "org/m", "espeak"],
        ),
    ],
)
def test_models_have_their_configured_names(profile: str, sets: tuple[str, ...], ids: list[str]) -> None:
    models = models_of(load(profile, env={}, sets=sets).config, 1_700_000_000)
    assert [model.id for model in models] == ids
    assert [model.stage for model in models] == ["asr", "llm", "tts"]
    assert {model.created for model in models} == {1_700_000_000}
    assert (models[1].owned_by == "unknown") == bool(sets)


def test_voices_of_piper_are_models() -> None:
    sets = ["tts.engine=piper", "piper.voice=/voices/en_US-amy-low.onnx"]
    sets.append('piper.voices=["de_DE-thorsten-low", "/voices/en_US-amy-low.onnx"]')
    models = models_of(load("scripted", env={}, sets=sets).config, 1_700_000_000)
    voices = [(model.id, model.owned_by) for model in models if model.stage == "tts"]
    assert voices == [("en_US-amy-low", "rhasspy"), ("de_DE-thorsten-low", "rhasspy")]
