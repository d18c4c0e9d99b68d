import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.cli.bench_stats import (
    Buckets,
    WordErrors,
    edit_distance,
    percentile,
    poisson_starts_s,
    read_buckets,
    spoken_words,
    summarise,
    word_errors,
)


def test_percentiles_are_values_that_were_seen() -> None:
    values = list(range(1, 101))
    assert [percentile(values, share) for share in (0.0, 0.5, 0.95, 0.99, 1.0)] == [1, 50, 95, 99, 100]
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
    assert summarise([]) is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0.01, 1.0))
@settings(max_examples=200)
def test_a_percentile_is_not_exceeded_by_its_share(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) < share * len(values)


def test_a_missing_answer_is_longer_than_every_answer() -> None:
    seen = summarise([100.0] * 94, n_censored=6)
    assert seen is not None
    assert (seen.n, seen.n_censored) == (100, 6)
    assert (seen.p50, seen.p90) == (100.0, 100.0)
    assert math.isinf(seen.p95)
    assert math.isinf(seen.p99)
    assert math.isinf(seen.max)
    nothing_came = summarise([], n_censored=3)
    assert nothing_came is not None
    assert math.isinf(nothing_came.p50)


def test_leaving_missing_answers_out_would_flatter() -> None:
    honest, flattered = summarise([100.0, 200.0], n_censored=2), summarise([100.0, 200.0])
    assert honest is not None
    assert flattered is not None
    assert honest.p90 > flattered.p90


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("What's the time, please?", ["what's", "the", "time", "please"]),
        ("It\N{RIGHT SINGLE QUOTATION MARK}s 3 o'clock.", ["it's", "3", "o'clock"]),
        ("'quoted' -- well_known\nthing", ["quoted", "well", "known", "thing"]),
        ("Füße 東京", ["füße", "東京"]),
        ("...", []),
    ],
)
def test_words_are_compared_without_case_and_punctuation(text: str, words: list[str]) -> None:
    assert spoken_words(text) == words


@pytest.mark.parametrize(
    ("said", "heard", "n_errors"),
    [
        ("what is the time", "What is the time?", 0),
        ("what is the time", "what is a time", 1),
        ("what is the time", "what is time", 1),
        ("what is the time", "so what is the time", 1),
        ("what is the time", "", 4),
        ("", "hello there", 2),
        ("one two three four", "two three four five", 2),
    ],
)
def test_word_errors(said: str, heard: str, n_errors: int) -> None:
    assert word_errors(said, heard).n_errors == n_errors


def test_word_error_rates_add_up_by_words_not_by_sentences() -> None:
    total = word_errors("a", "b") + word_errors("a b c d e f g h i", "a b c d e f g h i")
    assert total == WordErrors(1, 10)
    assert total.rate == 0.1
    assert WordErrors().rate is None


WORDS = st.lists(st.sampled_from("abc"), max_size=8)


@given(WORDS, WORDS, WORDS)
@settings(max_examples=200)
def test_edit_distance_is_a_distance(one: list[str], two: list[str], three: list[str]) -> None:
    assert (edit_distance(one, two) == 0) == (one == two)
    assert edit_distance(one, two) == edit_distance(two, one)
    assert edit_distance(one, three) <= edit_distance(one, two) + edit_distance(two, three)
    assert abs(len(one) - len(two)) <= edit_distance(one, two) <= max(len(one), len(two))


def test_arrivals_do_not_know_of_each_other() -> None:
    starts = poisson_starts_s(4000, 2.0, random.Random(7))
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    mean = sum(gaps) / len(gaps)
    assert starts[0] == 0.0
    assert mean == pytest.approx(0.5, rel=0.06)
    assert sum(gap > mean for gap in gaps) / len(gaps) == pytest.approx(math.exp(-1), abs=0.03)
    assert poisson_starts_s(1, 5.0, random.Random(1)) == [0.0]


PAGE = """\
# HELP voicestack_late_seconds How late
# TYPE voicestack_late_seconds histogram
voicestack_late_seconds_bucket{le="0.001"} 50.0
voicestack_late_seconds_bucket{le="0.01"} 99.0
voicestack_late_seconds_bucket{le="+Inf"} 100.0
voicestack_late_seconds_count 100.0
voicestack_late_seconds_sum 0.5
voicestack_later_seconds_bucket{le="+Inf"} 7.0
voicestack_stage_seconds_bucket{stage="asr",le="0.1"} 1.0
voicestack_stage_seconds_bucket{stage="asr",le="+Inf"} 2.0
voicestack_stage_seconds_bucket{stage="llm",le="0.1"} 3.0
voicestack_stage_seconds_bucket{stage="llm",le="+Inf"} 3.0
"""


def test_a_histogram_is_read_from_the_metrics_page() -> None:
    late = read_buckets(PAGE, "voicestack_late_seconds")
    assert late == Buckets({0.001: 50.0, 0.01: 99.0, math.inf: 100.0})
    assert late.n == 100
    assert late.quantile(0.5) == pytest.approx(0.001)
    assert late.quantile(0.25) == pytest.approx(0.0005)
    assert late.quantile(0.99) == pytest.approx(0.01)
    assert late.quantile(0.995) == math.inf


def test_other_labels_are_added_up() -> None:
    assert read_buckets(PAGE, "voicestack_stage_seconds") == Buckets({0.1: 4.0, math.inf: 5.0})


def test_only_what_was_added_counts() -> None:
    before = Buckets({0.001: 50.0, 0.01: 50.0, math.inf: 50.0})
    new = read_buckets(PAGE, "voicestack_late_seconds").since(before)
    assert new == Buckets({0.001: 0.0, 0.01: 49.0, math.inf: 50.0})
    assert new.quantile(0.5) == pytest.approx(0.001 + 0.009 * 25 / 49)


def test_nothing_seen_has_no_quantile() -> None:
    assert read_buckets("", "x").quantile(0.5) is None
    assert Buckets({0.1: 3.0, math.inf: 3.0}).since(Buckets({0.1: 3.0, math.inf: 3.0})).quantile(0.9) is None
