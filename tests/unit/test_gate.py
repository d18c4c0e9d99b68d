"""Who is let in, on measured turns, sessions and queues? On a clock that is moved by hand."""

import random
from dataclasses import dataclass, field

from tests.support.hand_clock import HandClock
from voicestack.config.load import load
from voicestack.core.marks import Mark, TurnMarks
from voicestack.core.queues import QueueReading
from voicestack.core.turn_record import Origin, Outcome, TurnRecord, Use
from voicestack.server.gate import Gate

MS = 1_000_000
SETS = ("admission.enabled=true", "admission.window_s=30", "budget.turn_ms=800")


def record(took_ms: float | None, outcome: Outcome = "answered", *, warm: bool = True) -> TurnRecord:
    at = {Mark.SPEECH_END: 0}
    if took_ms is not None:
        at[Mark.FIRST_SENT] = round(took_ms * MS)
    uses = (Use("llm", "one", "here", warm=warm),)
    return TurnRecord("s.1", "s", 1, Origin(), 0, 800, TurnMarks(at), outcome, uses=uses)


@dataclass
class Server:
    """A gate, and what it is told."""

    sets: tuple[str, ...] = ()
    clock: HandClock = field(default_factory=HandClock)
    n_sessions: int = 0
    queues: list[QueueReading] = field(default_factory=list)
    not_ready: str | None = None

    def __post_init__(self) -> None:
        config = load("scripted", env={}, sets=[*SETS, *self.sets]).config
        self.gate = Gate(
            config,
            self.clock,
            n_sessions=lambda: self.n_sessions,
            queues=lambda: self.queues,
            not_ready=lambda: self.not_ready,
            rng=random.Random(1),
        )

    def pass_s(self, n_s: int, took_ms: float = 600) -> None:
        """So many seconds with a turn in each."""
        for _ in range(n_s):
            self.clock.pass_ms(1_000)
            self.gate.turn_recorded(record(took_ms))
            self.gate.sample()

    def reason(self) -> str:
        return self.gate.capacity().reason


def test_a_server_that_is_in_time_lets_everybody_in() -> None:
    server = Server(n_sessions=10)
    server.pass_s(20)
    assert server.gate.admits() is None
    view = server.gate.capacity()
    assert (view.is_admitting, view.predicted_p95_ms, view.n_sessions) == (True, 600, 10)
    assert view.json()["admitting"] is True
    assert view.json()["reason"] is None


def test_a_server_that_is_late_lets_nobody_in_until_it_is_in_time_again() -> None:
    server = Server(n_sessions=10)
    server.pass_s(20, took_ms=900)
    refused = server.gate.admits()
    assert refused is not None
    assert refused.code == "overloaded"
    assert 2_500 <= refused.retry_after_ms <= 7_500
    assert "predicted_p95" in str(refused)
    assert server.gate.capacity().refused == {"predicted_p95": 1}
    server.pass_s(31, took_ms=600)
    assert server.gate.admits() is None


def test_turns_without_an_answer_count_as_late_and_broken_off_and_cold_ones_do_not_count() -> None:
    server = Server(n_sessions=10)
    server.pass_s(20)
    for _ in range(10):
        server.gate.turn_recorded(record(None, "interrupted"))
        server.gate.turn_recorded(record(5_000, warm=False))
    server.pass_s(1)
    assert server.reason() == ""
    for _ in range(3):
        server.gate.turn_recorded(record(None, "refused"))
    server.pass_s(1)
    assert server.reason() == "predicted_p95"
    assert server.gate.capacity().json()["predicted_p95_ms"] is None


def test_what_further_sessions_would_add_is_predicted_from_the_busy_places() -> None:
    server = Server(n_sessions=10)
    for n in range(1, 31):
        busy_ms = n * 2_000.0  # of four places 50 %, 200 ms for each piece of work
        server.queues = [QueueReading("llm", n_places=4, busy_ms=busy_ms, n_served=10 * n)]
        server.pass_s(1, took_ms=600)
    alone = server.gate.capacity()
    assert alone.is_admitting
    assert alone.predicted_p95_ms is not None
    assert 600 < alone.predicted_p95_ms < 800
    assert alone.headroom_sessions is not None
    assert 0 < alone.headroom_sessions < 10
    assert not server.gate.sheds_drafts()
    server.n_sessions = 10 + alone.headroom_sessions
    assert server.reason() == "predicted_p95"
    server.gate.sample()
    assert server.gate.sheds_drafts()


def test_a_burst_waits_until_its_load_shows() -> None:
    server = Server(sets=("admission.start_sessions=4", "admission.floor_sessions=0"))
    server.pass_s(5)
    while server.gate.admits() is None:
        server.n_sessions += 1
    assert server.n_sessions == 2
    server.clock.pass_ms(2_500)
    assert server.gate.admits() is None
    server.n_sessions = 4
    server.clock.pass_ms(2_500)
    assert server.reason() == "slow_start"
    assert server.gate.takes_requests() is None
    server.pass_s(11)
    assert server.gate.admits() is None


def test_a_full_or_starting_server_says_so_with_admission_off_too() -> None:
    server = Server(sets=("admission.enabled=false", "server.max_sessions=3"), n_sessions=2)
    server.pass_s(20, took_ms=5_000)
    assert server.gate.admits() is None
    assert server.gate.sheds_drafts() is False
    server.n_sessions = 3
    full = server.gate.admits()
    assert full is not None
    assert str(full).startswith("all 3 sessions are taken")
    server.not_ready = "starting"
    starting = server.gate.takes_requests()
    assert starting is not None
    assert str(starting).startswith("not ready: starting")


def test_another_region_is_named() -> None:
    where = ("admission.elsewhere_region=eu-2", "admission.elsewhere_url=https://eu-2.example.com")
    server = Server(sets=(*where, "server.max_sessions=1"), n_sessions=1)
    full = server.gate.admits()
    assert full is not None
    assert full.region == "eu-2"
    assert "https://eu-2.example.com" in str(full)
    assert len(str(full)) <= 120


def test_its_figures_are_numbers_with_the_names_of_the_reasons() -> None:
    server = Server(n_sessions=10)
    server.pass_s(20, took_ms=900)
    server.gate.admits()
    figures = server.gate.figures()
    assert figures["admitting"] == 0.0
    assert figures["refused_predicted_p95_total"] == 1.0
    assert figures["predicted_p95_ms"] == 900.0
