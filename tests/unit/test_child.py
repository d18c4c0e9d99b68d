import pytest

from voicestack.engines.child import backoff_s


@pytest.mark.parametrize(
    ("n_failures", "wait_s"), [(0, 0.1), (1, 0.2), (2, 0.4), (6, 6.4), (7, 10.0), (10_000, 10.0)]
)
def test_backoff_doubles_up_to_a_limit(n_failures: int, wait_s: float) -> None:
    assert backoff_s(n_failures) == pytest.approx(wait_s)
