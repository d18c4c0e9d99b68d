"""What several contract tests share, because it takes long to start."""

from collections.abc import Iterator

import pytest

from tests.support import vllm


@pytest.fixture(scope="session")
def vllm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A vLLM that drafts from n-grams and refuses more than six requests at once."""
    with vllm.running(tmp_path_factory.mktemp("vllm"), **vllm.NGRAM) as url:
        yield url
