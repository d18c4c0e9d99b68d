"""Sessions under a storm of wrong frames. The long run, with a look at memory, is in `tests/soak`."""

import pytest

from tests.support.fuzz import EVENTS, Storm, weather_a_storm


@pytest.mark.parametrize("seed", range(3))
def test_a_session_weathers_a_storm(seed: int) -> None:
    n_frames, n_replies = weather_a_storm(Storm(EVENTS, seed), 300)
    assert n_frames > 300
    assert n_replies > 5, "the storm must not drown the conversation"
