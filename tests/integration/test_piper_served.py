"""Does a server speak with Piper: over /v1/audio/speech, with its voices, its memory, and clear errors?"""

import asyncio
import importlib.util
import re
from contextlib import aclosing
from importlib.machinery import ModuleSpec
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.support.server import SCRIPTED, with_server
from tests.support.tiny_voice import make_voice
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.config.load import load
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError
from voicestack.engines.phrase_cache import PhraseCache
from voicestack.ports import SpeechRequest
from voicestack.server.assembly_piper import threads_of
from voicestack.server.assembly_tts import tts_of


def config_of(*sets: str) -> Config:
    return load("scripted", env={}, sets=["tts.engine=piper", *sets]).config


def refusal(*sets: str) -> str:
    with pytest.raises(ConfigError) as caught:
        tts_of(config_of(*sets), SystemClock())
    return str(caught.value)


def test_a_server_speaks_with_it(tmp_path: Path) -> None:
    voice = make_voice(tmp_path)
    make_voice(tmp_path, "de_DE-tiny-low", espeak="de", n_speakers=2, rate_hz=16_000)
    sets = (
        *SCRIPTED,
        "tts.engine=piper",
        f"piper.voice={voice}",
        'piper.voices=["de_DE-tiny-low"]',
        f"models.folder={tmp_path}",
        "piper.workers=1",
    )

    async def script(port: int) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:

            async def speech(text: str, voice: str = "alloy", speed: float = 1.0) -> bytes:
                wish = {"model": "tts-1", "input": text, "voice": voice, "speed": speed}
                answer = await client.post("/v1/audio/speech", json=wish | {"response_format": "pcm"})
                assert answer.status_code == 200, answer.text
                return answer.content

            usual = await speech("It costs $5, please.")
            pcm = np.frombuffer(usual, "<i2")
            assert 0.05 < np.abs(pcm.astype(np.float64)).max() / 32_768 < 0.9
            assert await speech("It costs $5, please.") == usual
            assert len(await speech("It costs $5, please.", speed=2.0)) < 0.7 * len(usual)
            german = await speech("Das kostet 5 €.", "de")
            assert german == await speech("Das kostet 5 €.", "de_DE-tiny-low")
            assert german != await speech("Das kostet 5 €.", "de_DE-tiny-low#two")
            models = (await client.get("/v1/models")).json()["data"]
            assert [one["id"] for one in models][2:] == ["en_US-tiny-low", "de_DE-tiny-low"]
            metrics = (await client.get("/metrics")).text
            assert 'voicestack_child_ready{child="piper"} 1.0' in metrics
            assert re.search(r'engine_counts_total\{engine="tts",figure="phrase_cache_hits"\} [1-9]', metrics)
            assert re.search(r'engine_figure\{engine="tts",figure="piper_waiting_phrases"\} 0', metrics)

    with_server(script, sets=sets, timeout_s=60)


def test_its_memory_is_warm(tmp_path: Path) -> None:
    config = config_of(f"piper.voice={make_voice(tmp_path)}", 'piper.phrases=["One moment, please."]')
    tts, (part,) = tts_of(config, SystemClock())
    assert isinstance(tts, PhraseCache)
    assert part.name == "piper"
    assert not part.is_ready

    async def main() -> None:
        async with asyncio.timeout(30), Scope() as scope:
            scope.start(part.run(), name=part.name)
            while tts.figures()["phrase_cache_phrases"] < 2:  # noqa: ASYNC110 (it has no reason to tell)
                await asyncio.sleep(0.02)
            assert part.is_ready
            for text in ("One moment, please.", config.session.apology):
                async with aclosing(tts.speak(SpeechRequest(f" {text}"))) as frames:
                    assert "".join([frame.text async for frame in frames]) == f" {text}"
            assert tts.figures()["phrase_cache_hits_total"] == 2
            assert tts.figures()["phrase_cache_misses_total"] == 0
            assert tts.figures()["piper_phrases_total"] >= 2

    asyncio.run(main())


def test_a_voice_that_is_missing_is_named_with_its_command(tmp_path: Path) -> None:
    assert "voicestack models pull en_US-kristin-medium" in refusal(f"models.folder={tmp_path}")


@pytest.mark.parametrize("module", ["piper", "num2words", "babel"])
def test_a_package_that_is_missing_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    found = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == module else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    assert re.search(r"pip install 'voicestack\[piper\]'", refusal())


def test_a_lexicon_and_a_speaker_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    voice = f"piper.voice={make_voice(tmp_path, n_speakers=2)}"
    (tmp_path / "words.toml").write_text("[en]\nword = 5")
    assert "'word' should be said" in refusal(voice, f"piper.lexicon={tmp_path / 'words.toml'}")
    assert "no speaker 'nobody'; it has one, two" in refusal(voice, "piper.speaker=nobody")
    assert "onnxruntime-gpu" in refusal(voice, "piper.use_cuda=true")


def test_cores_are_divided_among_the_workers() -> None:
    assert [threads_of(n, 2) for n in (1, 2, 4, 6, 8, 64)] == [1, 1, 2, 3, 4, 4]


def test_the_embedded_profile_needs_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    tts, _ = tts_of(load("embedded", env={}, sets=[]).config, SystemClock())
    assert tts.rate_hz == 22_050
