"""What every test runs under."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# As in `voicestack/__main__.py`: set before numpy loads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# How long inputs take to make says how busy the machine is, not how good they are.
settings.register_profile("busy", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("busy")


@pytest.fixture(scope="session", autouse=True)
def _own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The keys of whoever runs the tests are neither asked for nor changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield
