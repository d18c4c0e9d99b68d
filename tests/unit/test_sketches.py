"""What is known of durations of late, of those that did not end, and of those that are waited for."""

import random

import pytest

from voicestack.fleet.sketches import BUCKETS, ENOUGH, Kll, Left, Times, bucket_of, first_of_ms

S = 1_000_000_000


def known(times: Times, bucket: int = 0, now_ns: int = 0) -> Kll:
    sketch = times.sketch(bucket, now_ns)
    assert sketch is not None
    return sketch


def filled(values: list[float], bucket: int = 0, now_ns: int = 0) -> Times:
    times = Times()
    for value in values:
        times.add(value, bucket, now_ns)
    return times


def test_the_load_doubles_from_bucket_to_bucket() -> None:
    of = [bucket_of(n) for n in (0, 1, 2, 3, 4, 7, 8, 15, 16, 500)]
    assert [BUCKETS[bucket] for bucket in of] == [
        "1",
        "1",
        "2-3",
        "2-3",
        "4-7",
        "4-7",
        "8-15",
        "8-15",
        "16+",
        "16+",
    ]


def test_percentiles_are_those_of_the_values() -> None:
    left = Left(known(filled([float(value) for value in range(1, 201)])))
    assert left.quantile_ms(0.5) == pytest.approx(100, abs=2)
    assert left.quantile_ms(0.95) == pytest.approx(191, abs=2)


def test_a_small_sample_promises_no_more_than_its_largest() -> None:
    left = Left(known(filled([float(value) for value in range(1, 11)])))
    assert left.quantile_ms(0.95) == 10
    left = Left(known(filled([float(value) for value in range(1, 31)])))
    assert left.quantile_ms(0.95) == 30  # and not the 29th of 30


def test_what_was_waited_for_is_taken_off() -> None:
    """Of 1..200 that are over 100 ms, half are over 150."""
    left = Left(known(filled([float(value) for value in range(1, 201)])), 100)
    assert left.quantile_ms(0.5) == pytest.approx(50, abs=2)
    assert left.quantile_ms(0.95) == pytest.approx(96, abs=2)
    assert left.p_over(50) == pytest.approx(0.5, abs=0.02)


def test_what_takes_longer_than_anything_seen_may_take_as_long_again() -> None:
    left = Left(known(filled([100.0] * 50)), 300)
    assert left.quantile_ms(0.5) == left.quantile_ms(0.95) == 300
    assert left.p_over(299) == 1.0
    assert left.p_over(300) == 0.0


def test_the_first_of_two_is_sooner_than_either() -> None:
    one, other = (Left(known(filled([float(value) for value in range(1, 201)]))) for _ in range(2))
    assert first_of_ms(one, other, 0.5) == pytest.approx(200 * (1 - 0.5**0.5), abs=4)
    assert first_of_ms(one, other, 0.95) == pytest.approx(200 * (1 - 0.05**0.5), abs=4)


def test_what_is_old_is_forgotten() -> None:
    times = filled([100.0] * 50)
    for second in range(0, 130, 5):
        times.add(300, 0, second * S)
    assert Left(known(times, now_ns=130 * S)).quantile_ms(0.05) == 300


def test_what_is_slow_shows_at_once() -> None:
    """Two slow ones among twenty are the 95th percentile."""
    times = filled([100.0] * 20)
    times.add(500, 0, 10 * S)
    times.add(500, 0, 20 * S)
    assert Left(known(times, now_ns=20 * S)).quantile_ms(0.95) == 500


def test_the_last_ten_minutes_count_when_the_last_two_say_too_little() -> None:
    times = filled([100.0] * 50)
    assert Left(known(times, now_ns=500 * S)).quantile_ms(0.5) == 100
    assert times.sketch(0, 1_300 * S) is None


def test_the_nearest_load_counts_and_of_two_the_heavier() -> None:
    times = Times()
    for _ in range(ENOUGH):
        times.add(100, 0, 0)
        times.add(400, 2, 0)
    assert [Left(known(times, bucket)).quantile_ms(0.5) for bucket in range(5)] == [100, 400, 400, 400, 400]


def test_too_little_is_put_to_what_is_supposed() -> None:
    times = Times([50, 100, 200])
    assert Left(known(times)).quantile_ms(0.95) == 200
    times.add(900, 0, 0)
    assert Left(known(times)).quantile_ms(0.95) == 900
    for _ in range(ENOUGH):
        times.add(20, 0, 0)
    assert Left(known(times)).quantile_ms(0.5) == 20


@pytest.mark.parametrize("limit_ms", [60.0, 100.0, 140.0])
def test_what_was_given_up_does_not_make_it_look_quicker(limit_ms: float) -> None:
    """Every second one is broken off at a limit, as by users who interrupt: the percentiles stay."""
    rng = random.Random(5)
    true = [rng.lognormvariate(4.6, 0.4) for _ in range(2_000)]
    all_of_it, times, naive = filled(true), Times(), Times()
    for number, value in enumerate(true):
        if number % 2 and value > limit_ms:
            times.add(limit_ms, 0, 0, finished=False)
            naive.add(limit_ms, 0, 0)
        else:
            times.add(value, 0, 0)
            naive.add(value, 0, 0)
    for p in (0.5, 0.9, 0.95):
        want = Left(known(all_of_it)).quantile_ms(p)
        assert 0.92 < Left(known(times)).quantile_ms(p) / want < 1.25
    assert Left(known(naive)).quantile_ms(0.9) < 0.95 * Left(known(all_of_it)).quantile_ms(0.9)


def test_what_never_ends_is_taken_for_longer_than_it_was_waited_for() -> None:
    times = filled([100.0] * 20)
    for _ in range(3):
        times.add(5_000, 0, 0, finished=False)
    assert Left(known(times)).quantile_ms(0.95) > 5_000
