"""The stages alone with the real engines: PocketSphinx writes down, eSpeak NG speaks."""

import io
import wave

import httpx
import numpy as np
import pytest

from tests.support.server import with_server
from tests.support.speech import utterances
from voicestack.core.resample import resample
from voicestack.core.wav import stream_header

SETTINGS = ("llm.first_token_ms=20000", "budget.readiness_turn_ms=20000", "asr.workers_max=2")
"""The machine of a test may be slow; nothing here is about speed."""


def words_of(text: str) -> list[str]:
    return text.lower().replace("?", "").replace(",", "").split()


def test_two_questions_and_an_answer() -> None:
    first, second = (one for one in utterances() if one.name in ("01_slt.wav", "02_slt.wav"))
    both = np.concatenate([first.pcm, np.zeros(16_000, np.int16), second.pcm])
    at_44k = resample(both, 16_000, 44_100)
    stereo = np.stack([at_44k, at_44k], axis=1).tobytes()
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((2, 2, 44_100, 0, "NONE", ""))
        writer.writeframes(stereo)

    async def script(port: int) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", timeout=60) as client:
            answer = await client.post(
                "/audio/transcriptions",
                files={"file": ("both.wav", file.getvalue())},
                data={"response_format": "verbose_json", "language": "en"},
            )
            assert answer.status_code == 200, answer.text
            heard = answer.json()
            assert len(heard["segments"]) == 2
            assert heard["duration"] == pytest.approx(len(both) / 16_000, abs=0.001)
            said = words_of(first.words) + words_of(second.words)
            right = sum(word in words_of(heard["text"]) for word in said)
            assert right >= 0.8 * len(said), heard["text"]
            german = await client.post(
                "/audio/transcriptions",
                files={"file": ("a.wav", stream_header(16_000) + first.pcm.tobytes())},
                data={"language": "de"},
            )
            assert german.json()["error"]["code"] == "unsupported_language"
            speech = await client.post(
                "/audio/speech",
                json={"input": "Hello there. This is eSpeak.", "voice": "alloy", "response_format": "pcm"},
            )
            pcm = np.frombuffer(speech.content, "<i2")
            assert 1.0 < len(pcm) / 24_000 < 4.0
            assert np.abs(pcm).max() > 3000
            ids = [model["id"] for model in (await client.get("/models")).json()["data"]]
            assert ids == ["pocketsphinx", "SmolLM2-135M-Instruct", "espeak"]

    with_server(script, profile="embedded", sets=SETTINGS, timeout_s=120)
