"""Noise passes the gate and real losses do not: simulated runs, many of them."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.cli.gate_equality import first_difference
from voicestack.cli.gate_figures import Events, Figure, PerItem, Times
from voicestack.cli.gate_odds import p_of_excess
from voicestack.cli.gate_verdict import Run, Terms, Verdict, compare

N_RUNS = 60
PARTS = frozenset({"asr", "llm", "v2v"})


def n_failing(name: str, pairs: list[tuple[Figure, Figure]]) -> int:
    """In how many of the simulated comparisons something fails."""
    terms = Terms(parts=PARTS)
    return sum(any(f.fails for f in compare(Run({name: a}), Run({name: b}), terms)) for a, b in pairs)


def words(rng: np.random.Generator, p_error: float) -> PerItem:
    """25 recordings of 6 words each."""
    return PerItem({f"r{n}": (int(rng.binomial(6, p_error)), 6) for n in range(25)})


def waits(rng: np.random.Generator, ms: float, n_turns: int = 48) -> Times:
    """Three repetitions, each with a tail; the machine is a little quicker or slower in each."""
    blocks = [ms * rng.lognormal(0, 0.02) * rng.lognormal(0, 0.25, n_turns) for _ in range(3)]
    return Times(tuple(tuple(block.tolist()) for block in blocks))


def missing(rng: np.random.Generator, p_missing: float) -> Events:
    return Events(int(rng.binomial(144, p_missing)), 144)


def test_noise_hardly_ever_fails() -> None:
    rng = np.random.default_rng(7)
    assert n_failing("asr.word_errors", [(words(rng, 0.08), words(rng, 0.08)) for _ in range(500)]) <= 60
    assert n_failing("v2v.c16.missing", [(missing(rng, 0.1), missing(rng, 0.1)) for _ in range(500)]) <= 10
    assert n_failing("v2v.c16.wait_ms", [(waits(rng, 400), waits(rng, 400)) for _ in range(N_RUNS)]) <= 4


def test_real_losses_fail() -> None:
    rng = np.random.default_rng(8)
    assert n_failing("asr.word_errors", [(words(rng, 0.08), words(rng, 0.23)) for _ in range(100)]) >= 90
    assert n_failing("v2v.c16.missing", [(missing(rng, 0.02), missing(rng, 0.15)) for _ in range(100)]) >= 90
    assert n_failing("v2v.c16.wait_ms", [(waits(rng, 400), waits(rng, 540)) for _ in range(20)]) >= 18


small = st.integers(min_value=-4, max_value=4)


@given(st.lists(small, max_size=30))
def test_the_odds_are_those_of_counting_all_signs(differences: list[int]) -> None:
    p = p_of_excess(differences)
    assert 0 < p <= 1 + 1e-12
    assert p_of_excess([-one for one in differences]) + p >= 1 - 1e-9
    assert p_of_excess([*differences, 0]) == p
    if len(differences) <= 8:
        sizes = [abs(one) for one in differences]
        n_as_much = sum(
            sum(size if bits >> at & 1 else -size for at, size in enumerate(sizes)) >= sum(differences)
            for bits in range(2 ** len(sizes))
        )
        assert math.isclose(p, n_as_much / 2 ** len(sizes))


items = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3).map(lambda n: (n, 3)), min_size=1)


@given(items, items)
@settings(max_examples=60)
def test_of_two_runs_at_most_one_is_worse(
    before: dict[str, tuple[int, int]], now: dict[str, tuple[int, int]]
) -> None:
    def verdict(old: dict[str, tuple[int, int]], new: dict[str, tuple[int, int]]) -> Verdict:
        name, terms = "asr.word_errors", Terms(parts=PARTS)
        (finding,) = compare(Run({name: PerItem(old)}), Run({name: PerItem(new)}), terms)
        return finding.verdict

    there, back = verdict(before, now), verdict(now, before)
    assert not (there is Verdict.REGRESSED and back is not Verdict.BETTER)
    assert verdict(now, now) is Verdict.SAME


@given(st.text(max_size=30), st.text(max_size=30))
def test_texts_part_where_they_differ(here: str, there: str) -> None:
    found = first_difference("q", here, there)
    assert (found is None) == (here == there)
    same = first_difference("q", here + there, here + there)
    assert same is None
