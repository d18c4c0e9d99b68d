"""What the gate says of two runs: which differences fail, which do not, and what cannot be compared."""

import math

import pytest

from voicestack.cli.gate_equality import Difference, differences, first_difference
from voicestack.cli.gate_figures import Events, Figure, PerItem, Times
from voicestack.cli.gate_odds import p_of_excess, p_of_more, wilson
from voicestack.cli.gate_verdict import Finding, Run, Terms, Verdict, compare

PARTS = frozenset({"asr", "llm", "tools", "tts", "v2v"})
QUICK = Times((tuple(float(300 + n) for n in range(40)),))
SLOW = Times((tuple(float(400 + n) for n in range(40)),))


def answers(n_wrong: int, n_of: int = 20) -> PerItem:
    return PerItem({f"q{n}": (int(n < n_wrong), 1) for n in range(n_of)})


def judged(name: str, before: Figure | None, now: Figure | None, **terms: object) -> list[Finding]:
    accepted = Run({name: before} if before else {})
    run = Run({name: now} if now else {})
    return compare(accepted, run, Terms(parts=PARTS, **terms))  # type: ignore[arg-type]


def one(name: str, before: Figure | None, now: Figure | None, **terms: object) -> Finding:
    (finding,) = judged(name, before, now, **terms)
    return finding


@pytest.mark.parametrize(
    ("n_before", "n_now", "verdict"),
    [
        (4, 4, Verdict.SAME),
        (8, 4, Verdict.BETTER),
        (8, 5, Verdict.NOISE),
        (4, 7, Verdict.NOISE),  # three lost and none won: a coin does that once in eight times
        (4, 8, Verdict.REGRESSED),
        (0, 20, Verdict.REGRESSED),
    ],
)
def test_answers_are_compared_in_pairs(n_before: int, n_now: int, verdict: Verdict) -> None:
    finding = one("llm.wrong_answers", answers(n_before), answers(n_now))
    assert finding.verdict is verdict
    assert finding.fails == (verdict is Verdict.REGRESSED)
    assert (finding.accepted, finding.now) == (n_before / 20, n_now / 20)


def test_a_real_but_tiny_loss_is_tolerated() -> None:
    before = PerItem({f"r{n}": (0, 200) for n in range(10)})
    now = PerItem({f"r{n}": (1, 200) for n in range(10)})
    assert one("asr.word_errors", before, now).verdict is Verdict.TOLERATED


def test_the_worst_items_are_named_worst_first() -> None:
    before = PerItem({f"r{n}": (0, 10) for n in range(8)})
    now = PerItem({f"r{n}": (n, 10) for n in range(8)})
    finding = one("asr.word_errors", before, now)
    assert finding.verdict is Verdict.REGRESSED
    assert finding.worst == ("r7", "r6", "r5")
    assert finding.low is not None
    assert finding.high is not None
    assert 0 < finding.low < 28 / 80 < finding.high


def test_only_what_both_runs_have_is_compared() -> None:
    before = PerItem({"a": (0, 1), "b": (1, 1), "gone": (1, 1)})
    now = PerItem({"a": (0, 1), "b": (1, 1), "new": (1, 1)})
    finding = one("llm.wrong_answers", before, now)
    assert (finding.accepted, finding.now, finding.verdict) == (0.5, 0.5, Verdict.SAME)
    few = one("llm.wrong_answers", before, PerItem({"a": (1, 1), "b": (1, 1)}))
    assert few.verdict is Verdict.UNMEASURED
    other = one("llm.wrong_answers", before, PerItem({"new": (1, 1)}))
    assert (other.accepted, other.now, other.verdict) == (None, 1.0, Verdict.NEW)
    relabelled = one("asr.word_errors", PerItem({"a": (1, 4)}), PerItem({"a": (1, 5)}))
    assert relabelled.verdict is Verdict.NEW


def test_a_limit_holds_whatever_was_accepted() -> None:
    limits = {"tools.one.false_calls": 0.0}
    one_false, none = answers(1), answers(0)
    assert one("tools.one.false_calls", one_false, one_false, limits=limits).verdict is Verdict.TOO_BAD
    assert one("tools.one.false_calls", None, one_false, limits=limits).verdict is Verdict.TOO_BAD
    assert one("tools.one.false_calls", one_false, none, limits=limits).verdict is Verdict.NOISE
    assert one("tools.all.false_calls", one_false, one_false, limits=limits).verdict is Verdict.SAME
    worse = one("tools.one.false_calls", none, answers(20), limits=limits)
    assert worse.verdict is Verdict.REGRESSED


def test_waits_have_two_percentiles() -> None:
    middle, tail = judged("v2v.c4.wait_ms", QUICK, SLOW)
    assert (middle.name, tail.name) == ("v2v.c4.wait_ms.p50", "v2v.c4.wait_ms.p95")
    assert (middle.accepted, middle.now, middle.verdict) == (319, 419, Verdict.REGRESSED)
    assert tail.verdict is Verdict.REGRESSED
    assert [finding.verdict for finding in judged("v2v.c4.wait_ms", SLOW, QUICK)] == [Verdict.BETTER] * 2
    assert [finding.verdict for finding in judged("v2v.c4.wait_ms", QUICK, QUICK)] == [Verdict.SAME] * 2


def test_a_few_milliseconds_are_tolerated() -> None:
    later = Times((tuple(value + 4.0 for value in QUICK.values),))
    assert judged("v2v.c1.wait_ms", QUICK, later)[0].verdict in (Verdict.TOLERATED, Verdict.NOISE)
    steady = Times(((300.0,) * 40,))
    assert judged("v2v.c1.wait_ms", steady, Times(((304.0,) * 40,)))[0].verdict is Verdict.TOLERATED
    assert judged("v2v.c1.wait_ms", steady, Times(((316.0,) * 40,)))[0].verdict is Verdict.REGRESSED


def test_what_never_came_is_longer_than_all_that_came() -> None:
    lost = Times(((*QUICK.values[:5], *(None,) * 35),))
    middle, tail = judged("v2v.c16.wait_ms", QUICK, lost)
    assert (middle.now, middle.verdict) == (math.inf, Verdict.REGRESSED)
    assert tail.verdict is Verdict.REGRESSED
    assert [finding.verdict for finding in judged("v2v.c16.wait_ms", lost, lost)] == [Verdict.SAME] * 2
    assert judged("v2v.c16.wait_ms", lost, QUICK)[0].verdict is Verdict.BETTER


def test_too_few_waits_are_not_judged() -> None:
    few = Times(((300.0,) * 10,))
    middle, tail = judged("v2v.c1.wait_ms", few, Times(((900.0,) * 10,)))
    assert (middle.verdict, tail.verdict) == (Verdict.REGRESSED, Verdict.UNMEASURED)
    nobody = judged("v2v.c1.wait_ms", few, Times(((),)))
    assert [finding.verdict for finding in nobody] == [Verdict.UNMEASURED] * 2


def test_counts_under_load() -> None:
    assert one("v2v.c16.missing", Events(2, 100), Events(6, 100)).verdict is Verdict.NOISE
    assert one("v2v.c16.missing", Events(2, 100), Events(20, 100)).verdict is Verdict.REGRESSED
    assert one("v2v.c16.refused", Events(0, 0), Events(0, 10)).verdict is Verdict.UNMEASURED
    finding = one("v2v.c16.missing", Events(0, 100), Events(0, 100))
    assert (finding.verdict, finding.low is not None and finding.low < 0 < (finding.high or 0)) == (
        Verdict.SAME,
        True,
    )


def test_times_of_another_machine_are_shown_and_fail_only_when_asked_to() -> None:
    for name, before, now in (
        ("v2v.c4.wait_ms", QUICK, SLOW),
        ("llm.first_text_ms", QUICK, SLOW),
        ("v2v.c4.missing", Events(0, 100), Events(50, 100)),
    ):
        found = judged(name, before, now, same_machine=False)
        assert {finding.verdict for finding in found} == {Verdict.ELSEWHERE}
        strict = judged(name, before, now, same_machine=False, strict=True)
        assert {finding.verdict for finding in strict} == {Verdict.REGRESSED}
    words = one("asr.word_errors", answers(0), answers(20), same_machine=False)
    assert words.verdict is Verdict.REGRESSED
    assert one("v2v.c77.missing", Events(0, 1), None, same_machine=False).verdict is Verdict.ELSEWHERE


def test_what_was_not_measured() -> None:
    assert one("v2v.c77.missing", Events(0, 1), None).verdict is Verdict.GONE
    accepted = Run({"v2v.c1.missing": Events(0, 9), "asr.word_errors": answers(0)})
    found = compare(accepted, Run({"asr.word_errors": answers(0)}), Terms(parts=frozenset({"asr"})))
    assert [finding.name for finding in found] == ["asr.word_errors"]


def test_changed_answers_are_shown_and_do_not_fail() -> None:
    found = compare(
        Run(texts={"a": "yes", "b": "no", "old": ""}), Run(texts={"a": "yes", "b": "nay", "new": ""}), Terms()
    )
    assert [(finding.verdict, finding.now, finding.worst) for finding in found] == [
        (Verdict.CHANGED, 1.0, ("b",))
    ]
    assert not found[0].fails


def test_odds_by_hand() -> None:
    assert p_of_excess([]) == p_of_excess([0, 0]) == 1.0
    assert p_of_excess([1, 1, 1, 1, 1]) == pytest.approx(1 / 32)
    assert p_of_excess([3, -1]) == pytest.approx(0.5)  # +3+1, +3-1 of four
    assert p_of_excess([-1, -1]) == 1.0
    assert p_of_more(3, 3, 0, 3) == pytest.approx(1 / 20)
    assert p_of_more(0, 5, 3, 5) == 1.0
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(10, 20) == pytest.approx((0.2993, 0.7007), abs=1e-4)


def test_equal_answers_do_not_differ_and_the_first_different_token_is_found() -> None:
    assert first_difference("q", "The sky is blue.", "The sky is blue.") is None
    assert first_difference("q", "The sky is blue.", "The sky is grey, often.") == Difference(
        "q", 3, "The sky is", " blue.", " grey, often."
    )
    assert first_difference("q", "Yes.", "Yes. Sure") == Difference("q", 2, "Yes.", "", " Sure")
    assert first_difference("q", "a b", "a  b") == Difference("q", 1, "a", " b", "  b")
    assert [found.key for found in differences({"a": "x", "b": "y"}, {"a": "x", "c": "z"})] == ["b", "c"]
