"""What several contract tests share, because it takes long to start."""

from collections.abc import Iterator

import pytest

from tests.support import vllm
from tests.support.served import served


@pytest.fixture(scope="session")
def vllm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A vLLM that drafts from n-grams and refuses more than six requests at once."""
    with vllm.running(tmp_path_factory.mktemp("vllm"), **vllm.NGRAM) as url:
        yield url


@pytest.fixture(scope="session")
def replica_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of another voicestack, whose speech engines are PocketSphinx and eSpeak NG."""
    sets = ("vad.engine=silero", "asr.engine=pocketsphinx", "asr.workers_max=4", "tts.engine=espeak")
    limits = ("stages.max_transcriptions=4", "stages.max_speeches=8")
    with served(tmp_path_factory.mktemp("replica"), "scripted", (*sets, *limits)) as server:
        yield f"{server.url}/v1"
