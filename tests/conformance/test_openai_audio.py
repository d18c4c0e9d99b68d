"""The unmodified `openai` package uses the stages alone: sync and async, whole and streaming."""

import asyncio
import io
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.support.server import SCRIPTED, with_server
from voicestack.server.stages.codec import has_codecs

QUESTION = Path("voicestack/server/question.wav").resolve()
TEXT = "what can you do for me today"
ALWAYS = (*SCRIPTED, f'asr.texts=["{TEXT}"]')

WITH_CODECS = pytest.mark.skipif(not has_codecs(), reason="needs PyAV")
"""faster-whisper brings it with the embedded profile."""


def client(port: int) -> AsyncOpenAI:
    return AsyncOpenAI(api_key="sk-local", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)


def synchronously(use: Callable[[OpenAI], None]) -> None:
    """Use the synchronous client, in a thread beside the server's loop."""

    async def script(port: int) -> None:
        url = f"http://127.0.0.1:{port}/v1"
        with OpenAI(api_key="sk-local", base_url=url, max_retries=0) as sync:
            await asyncio.to_thread(use, sync)

    with_server(script, sets=ALWAYS)


def test_models() -> None:
    def use(sync: OpenAI) -> None:
        ids = [model.id for model in sync.models.list()]
        assert ids == ["scripted-asr", "scripted-llm", "scripted-tts"]
        model = sync.models.retrieve("scripted-asr")
        assert (model.id, model.object, model.owned_by) == ("scripted-asr", "model", "voicestack")
        with pytest.raises(openai.NotFoundError) as raised:
            sync.models.retrieve("gpt-4o")
        assert raised.value.code == "model_not_found"

    synchronously(use)


def test_speech_whole_and_streaming() -> None:
    def use(sync: OpenAI) -> None:
        how = {"model": "tts-1", "voice": "alloy", "input": "Hello there, how are you?"}
        whole = sync.audio.speech.create(**how, response_format="wav").content  # type: ignore[arg-type]
        with wave.open(io.BytesIO(whole)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
            pcm = file.readframes(10_000_000)
        with sync.audio.speech.with_streaming_response.create(
            **how,  # type: ignore[arg-type]
            response_format="pcm",
        ) as streamed:
            assert streamed.headers["content-type"] == "audio/pcm"
            parts = list(streamed.iter_bytes())
        assert b"".join(parts) == pcm
        spoken_chars = len("Hello there,") + len("how are you?")
        assert len(pcm) == spoken_chars * 50 * 24 * 2
        assert np.abs(np.frombuffer(pcm, "<i2")).max() > 3000
        twice = sync.audio.speech.create(**how, response_format="pcm", speed=2.0).content  # type: ignore[arg-type]
        assert len(twice) == len(pcm) // 2

    synchronously(use)


@WITH_CODECS
@pytest.mark.parametrize(
    ("kind", "head"), [("mp3", b"\xff"), ("opus", b"OggS"), ("aac", b"\xff"), ("flac", b"fLaC")]
)
def test_compressed_speech_comes_back_as_it_went(kind: str, head: bytes) -> None:
    async def script(port: int) -> None:
        async with client(port) as api:
            speech = await api.audio.speech.create(
                model="tts-1",
                voice="alloy",
                input="Hello there, how are you?",
                response_format=kind,  # type: ignore[arg-type]
            )
            assert speech.content.startswith(head)
            back = await api.audio.transcriptions.create(
                model="whisper-1", file=(f"a.{kind}", speech.content), response_format="verbose_json"
            )
            assert back.duration == pytest.approx(1.2, abs=0.1)
            assert back.text == TEXT

    with_server(script, sets=ALWAYS)


def test_transcription_in_every_format() -> None:
    def use(sync: OpenAI) -> None:
        with QUESTION.open("rb") as file:
            plain = sync.audio.transcriptions.create(model="whisper-1", file=file)
        assert plain.text == TEXT
        assert plain.usage is not None
        assert plain.usage.type == "duration"
        assert plain.usage.seconds == pytest.approx(1.613, abs=0.001)
        verbose = sync.audio.transcriptions.create(
            model="whisper-1",
            file=QUESTION,
            response_format="verbose_json",
            timestamp_granularities=["segment"],
            language="en-GB",
            prompt="A question.",
            temperature=0.2,
        )
        assert verbose.language == "en-GB"
        assert verbose.duration == pytest.approx(1.613, abs=0.001)
        assert verbose.segments is not None
        assert [segment.text for segment in verbose.segments] == [verbose.text]
        assert 0 <= verbose.segments[0].start < verbose.segments[0].end <= verbose.duration
        text = sync.audio.transcriptions.create(model="whisper-1", file=QUESTION, response_format="text")
        assert text == f"{TEXT}\n"
        srt = sync.audio.transcriptions.create(model="whisper-1", file=QUESTION, response_format="srt")
        assert srt.startswith("1\n00:00:00,000 --> 00:00:01,")
        vtt = sync.audio.transcriptions.create(model="whisper-1", file=QUESTION, response_format="vtt")
        assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> ")

    synchronously(use)


def test_streamed_transcription_is_append_only() -> None:
    with wave.open(str(QUESTION)) as file:
        frames = file.readframes(file.getnframes())
    sound = io.BytesIO()
    with wave.open(sound, "wb") as writer:
        writer.setparams((1, 2, 16_000, 0, "NONE", ""))
        for _ in range(3):
            writer.writeframes(frames + bytes(32_000))

    async def script(port: int) -> None:
        async with client(port) as api:
            deltas, done = [], ""
            stream = await api.audio.transcriptions.create(
                model="gpt-4o-transcribe", file=("three.wav", sound.getvalue()), stream=True
            )
            async for event in stream:
                if event.type == "transcript.text.delta":
                    deltas.append(event.delta)
                elif event.type == "transcript.text.done":
                    done = event.text
            assert len(deltas) == 3
            assert "".join(deltas) == done
            assert sorted(done.split()) == sorted(
                f"{TEXT} tell me something about the sea is it going to rain tomorrow".split()
            )

    with_server(script)


def test_refusals_are_what_the_client_has_classes_for() -> None:
    async def script(port: int) -> None:
        async with client(port) as api:
            with pytest.raises(openai.BadRequestError) as bad:
                await api.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"RIFF1234WAVE"))
            assert (bad.value.code, bad.value.param) == ("invalid_audio", "file")
            with pytest.raises(openai.BadRequestError) as word:
                await api.audio.transcriptions.create(
                    model="whisper-1", file=QUESTION, timestamp_granularities=["word"]
                )
            assert word.value.param == "timestamp_granularities"
            with pytest.raises(openai.BadRequestError) as text:
                await api.audio.speech.create(model="tts-1", voice="alloy", input="x" * 4097)
            assert text.value.code == "string_above_max_length"
            with pytest.raises(openai.APIStatusError) as large:
                await api.audio.transcriptions.create(model="whisper-1", file=("a.wav", bytes(27_000_000)))
            assert (large.value.status_code, large.value.code) == (413, "file_too_large")

    with_server(script)
