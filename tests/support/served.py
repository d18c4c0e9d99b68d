"""A server in a process of its own, on a port that it keeps: it can be ended and started again."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from tests.support.matching import distances
from voicestack.cli.bench_server import free_port
from voicestack.core.audio import Pcm

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 120
STOP_LIMIT_S = 20
SLOW_MACHINE = ("llm.first_token_ms=20000", "budget.readiness_turn_ms=20000")
"""Nothing here is about speed."""

SPEECH_RATE_HZ = 24_000
"""Of `/v1/audio/speech` as PCM."""
SAME = 0.9
"""Below this distance a recording holds a sentence. Right ones are at 0.4 to 0.7 (Opus, a slow machine), one
with another name in it is at 1.2, other sentences and noise from 1.5."""
OTHER_WORDS = (
    "The capital of France is London.",
    "The capital of Spain is Madrid.",
    "There are seven days in a week.",
)


class Served:
    """`voicestack serve`.

    Args:
        folder: Its log and its keys are in there.
        profile: The configuration's profile.
        sets: Further settings.
    """

    def __init__(self, folder: Path, profile: str = "embedded", sets: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.log = folder / "server.log"
        settings = [f"access.keys_file={folder / 'keys.json'}", *SLOW_MACHINE, *sets]
        arguments = [argument for one in settings for argument in ("--set", one)]
        serve = ["-m", "voicestack", "serve", "--config", profile, "--port", str(self.port)]
        self._command = [sys.executable, *serve, *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its page is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=log, stderr=log)
        until_s = time.monotonic() + START_LIMIT_S
        while not self._is_ready():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < until_s, f"not ready in {START_LIMIT_S} s:\n{self.log.read_text()}"
            time.sleep(0.1)

    def stop(self) -> None:
        """End it as an operator would."""
        assert self._process is not None
        assert self._process.poll() is None, f"it had ended:\n{self.log.read_text()}"
        self._process.terminate()
        self._process.wait(STOP_LIMIT_S)

    def kill(self) -> None:
        """End it as a power failure would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_LIMIT_S)

    def transcribe(self, wav: bytes) -> str:
        """What its own recogniser makes of a recording, in lower case."""
        files = {"file": ("sound.wav", wav)}
        answer = httpx.post(
            f"{self.url}/v1/audio/transcriptions",
            files=files,
            data={"model": "asr"},
            timeout=120,
            trust_env=False,
        )
        answer.raise_for_status()
        return str(answer.json()["text"]).lower()

    def speak(self, words: str) -> Pcm:
        """The same words from its own voice, int16 mono at SPEECH_RATE_HZ."""
        wish = {"model": "tts", "voice": "default", "input": words, "response_format": "pcm"}
        answer = httpx.post(f"{self.url}/v1/audio/speech", json=wish, timeout=120, trust_env=False)
        answer.raise_for_status()
        return np.frombuffer(answer.content, np.int16)

    def check_said(self, words: str, recording: Pcm, rate_hz: int) -> None:
        """A recording is its voice with these words, and not with similar ones."""
        all_words = [words, *(other for other in OTHER_WORDS if other != words)]
        found = distances(recording, rate_hz, {one: (self.speak(one), SPEECH_RATE_HZ) for one in all_words})
        right = found.pop(words)
        assert right < min(SAME, 0.85 * min(found.values())), f"not {words!r}: {right}, others {found}"

    def metrics(self) -> str:
        """Its figures."""
        return httpx.get(f"{self.url}/metrics", timeout=30, trust_env=False).text

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=30, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def served(folder: Path, profile: str = "embedded", sets: Sequence[str] = ()) -> Iterator[Served]:
    """A server within a block."""
    server = Served(folder, profile, sets)
    server.start()
    try:
        yield server
    finally:
        server.stop()
