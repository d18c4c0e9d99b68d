import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from voicestack.cli.waterfall import Bar, Waterfall, bars, read_ledger
from voicestack.core.marks import Span

EVENT = {
    "type": "voicestack.turn.measured",
    "turn": 3,
    "spans": [
        {"stage": "endpoint", "start_ms": 0.0, "end_ms": 200.0, "hidden_ms": 0.0},
        {"stage": "asr", "start_ms": 200.0, "end_ms": 220.0, "hidden_ms": 0.0},
        {"stage": "llm", "start_ms": 100.0, "end_ms": 180.0, "hidden_ms": 80.0},
        {"stage": "tts", "start_ms": 180.0, "end_ms": 260.0, "hidden_ms": 20.0},
        {"stage": "send", "start_ms": 260.0, "end_ms": 300.0, "hidden_ms": 0.0},
    ],
    "response_ms": 300.0,
    "drafted": True,
    "interrupted": False,
}


def drawn(event: dict[str, object], *, width: int = 80, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, color_system=None)
    console.print(Waterfall(read_ledger(event)))
    file.seek(0)
    return file.read()


def test_the_sums_of_a_ledger() -> None:
    ledger = read_ledger(EVENT)
    assert ledger.hidden_ms == 100.0
    assert ledger.work_ms == 180.0
    assert ledger.response_ms == 300.0
    assert ledger.drafted
    assert not ledger.interrupted


def test_bars_share_one_scale() -> None:
    assert bars(read_ledger(EVENT).stages, 30) == [
        Bar(0, 0, 20),
        Bar(20, 0, 2),
        Bar(10, 8, 0),
        Bar(18, 2, 6),
        Bar(26, 0, 4),
    ]


def test_a_short_stage_can_be_seen() -> None:
    stages = [Span("endpoint", 0, 1000, 0), Span("asr", 1000, 1001, 0), Span("llm", 500, 500.4, 0.4)]
    assert bars(stages, 20) == [Bar(0, 0, 20), Bar(19, 0, 1), Bar(10, 1, 0)]


def test_no_time_at_all_still_draws() -> None:
    assert bars([Span("asr", 0, 0, 0)], 10) == [Bar(0, 0, 1)]
    assert bars([], 10) == []


SPANS = st.builds(
    lambda start, length, share: Span("llm", start, start + length, length * share),
    st.floats(-50, 5000),
    st.floats(0, 5000),
    st.floats(0, 1),
)


@given(st.lists(SPANS, max_size=8), st.integers(1, 60))
@settings(max_examples=200)
def test_bars_stay_within_the_columns(stages: list[Span], n_columns: int) -> None:
    for bar in bars(stages, n_columns):
        assert min(bar.n_before, bar.n_hidden, bar.n_shown) >= 0
        assert bar.n_hidden + bar.n_shown >= 1
        assert bar.n_before + bar.n_hidden + bar.n_shown <= n_columns


def test_the_picture_says_what_was_hidden() -> None:
    text = drawn(EVENT)
    assert "answered after 300 ms" in text
    assert "100 of 180 ms of work hidden" in text
    assert "drafted ahead" in text
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "░" in rows["llm"]
    assert "█" not in rows["llm"]
    assert "░" in rows["tts"]
    assert "█" in rows["tts"]
    assert rows["endpoint"].rstrip().endswith("200 ms")
    assert "it cost no time" in text


def test_a_dumb_terminal_gets_ascii() -> None:
    text = drawn(EVENT, encoding="ascii")
    assert text.isascii()
    assert "####" in text
    assert "...." in text


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_it_fits_the_terminal(width: int) -> None:
    assert all(len(line) <= width for line in drawn(EVENT, width=width).splitlines())


def test_a_wide_terminal_is_told_what_the_stages_mean() -> None:
    assert "language model" not in drawn(EVENT, width=80)
    assert "the first clause, spoken" in drawn(EVENT, width=120)


@pytest.mark.parametrize("event", [{}, {"spans": None, "response_ms": None}, {"spans": []}])
def test_a_turn_without_figures_draws_nothing_but_that(event: dict[str, object]) -> None:
    assert drawn(event).strip() == "server: no answer"


def test_an_interrupted_turn_says_so() -> None:
    assert "interrupted" in drawn({**EVENT, "interrupted": True})
