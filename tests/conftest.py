"""What every test runs under."""

import os
from collections.abc import Iterator

import pytest

# As in `voicestack/__main__.py`: set before numpy loads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The keys of whoever runs the tests are neither asked for nor changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield
