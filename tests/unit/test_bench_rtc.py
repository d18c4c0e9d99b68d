"""What the WebRTC benches compute: descriptions, arrivals, paces, grids and comparisons."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestack.cli.bench_lanes import compare
from voicestack.cli.bench_v2v import Outcome, Turn
from voicestack.cli.grid_link import Conditions, burst
from voicestack.cli.rtc_ear import Arrival, Counted, Ear, Playing, delays_ms, played_with, spurts
from voicestack.cli.rtc_grid import (
    AgentHeard,
    Cell,
    Delivered,
    UserHeard,
    back_after_ms,
    cell,
    delays_of,
    full_grid,
)
from voicestack.cli.rtc_load import Pace
from voicestack.cli.rtc_peer import Heard
from voicestack.cli.rtc_sdp import (
    Address,
    BadSdp,
    first_udp_candidate,
    in_every_section,
    opus_payload_type,
    through,
    udp_candidates,
    without_candidates,
)
from voicestack.cli.rtc_trial import LEAD_FRAMES
from voicestack.cli.speaker import CALL_RATE_HZ, FRAME_SAMPLES, Speaker, Timeline
from voicestack.core.audio import Pcm

MS = CALL_RATE_HZ // 1000
FRAME_NS = 20_000_000
ANSWER = "\r\n".join(
    [
        "v=0",
        "a=group:BUNDLE 0 1",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "a=rtpmap:111 opus/48000/2",
        "a=candidate:1 1 udp 2130706431 127.0.0.1 50001 typ host",
        "a=candidate:2 1 UDP 1694498815 203.0.113.7 50002 typ srflx raddr 10.0.0.1 rport 50001",
        "a=candidate:3 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active",
        "a=end-of-candidates",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "a=sctp-port:5000",
        "",
    ]
)


# --- descriptions -----------------------------------------------------------------------------------------


def test_a_relay_takes_the_place_of_the_first_candidate_and_of_all_others() -> None:
    assert first_udp_candidate(ANSWER) == Address("127.0.0.1", 50001)
    moved = through(ANSWER, Address("127.0.0.1", 40000))
    assert udp_candidates(moved) == [Address("127.0.0.1", 40000)]
    assert moved.count("a=candidate:") == 1
    assert "a=candidate:1 1 udp 2130706431 127.0.0.1 40000 typ host\r\n" in moved
    assert [line for line in moved.splitlines() if "candidate:" not in line] == [
        line for line in ANSWER.splitlines() if "candidate:" not in line
    ]


def test_candidates_that_name_the_same_address_move_together() -> None:
    twice = in_every_section(ANSWER)
    assert twice.count("127.0.0.1 50001") == 2
    assert through(twice, Address("127.0.0.1", 40000)).count("127.0.0.1 40000") == 2
    assert in_every_section(twice) == twice


def test_nothing_can_be_put_in_front_of_an_answer_without_candidates() -> None:
    with pytest.raises(BadSdp, match="UDP"):
        through(without_candidates(ANSWER), Address("127.0.0.1", 1))


def test_an_offer_without_candidates_is_otherwise_the_same() -> None:
    bare = without_candidates(ANSWER)
    assert "candidate" not in bare
    assert bare.endswith("\r\n")
    assert len(bare.splitlines()) == len(ANSWER.splitlines()) - 4


def test_opus_is_found_by_its_name() -> None:
    assert opus_payload_type(ANSWER) == 111
    with pytest.raises(BadSdp, match="Opus"):
        opus_payload_type(ANSWER.replace("opus", "PCMU"))


# --- arrivals ---------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-1000, 1000), max_size=50), st.integers(0, (1 << 16) - 1))
def test_numbers_that_wrap_are_counted_on(steps: list[int], start: int) -> None:
    count, true = Counted(1 << 15), start
    assert count(start) == start
    for step in steps:
        true += step
        assert count(true % (1 << 16)) == true


def arrived(numbers: Sequence[int], late_ms: dict[int, float] | None = None) -> list[Arrival]:
    """Packets of one spurt, on time but for those that are named; in the order of arrival."""
    every = [Arrival(n, n * 960, n * FRAME_NS + round((late_ms or {}).get(n, 0.0) * 1e6)) for n in numbers]
    return sorted(every, key=lambda one: one.arrived_ns)


def test_a_buffer_conceals_what_is_lost_and_what_is_too_late() -> None:
    numbers = [n for n in range(50) if n not in (7, 8, 30)]
    stream = arrived(numbers, {20: 61.0, 21: 59.0})
    assert played_with(stream, 60.0) == Playing(n_sent=50, n_lost=3, n_late=1)
    assert played_with(stream, 70.0) == Playing(n_sent=50, n_lost=3, n_late=0)
    assert played_with(stream, 60.0).concealed_share == 4 / 50
    assert played_with([], 60.0).concealed_share is None


def test_a_packet_counts_once_however_often_it_comes() -> None:
    stream = [*arrived(range(10)), Arrival(3, 3 * 960, 10**12)]
    assert played_with(stream, 60.0) == Playing(n_sent=10)


def test_a_pause_ends_a_spurt_and_a_loss_does_not() -> None:
    first, second = arrived([0, 1, 3]), [Arrival(4, 100_000, 10**10), Arrival(5, 100_960, 10**10 + FRAME_NS)]
    assert [[one.sequence for one in spurt] for spurt in spurts([*second, *first])] == [[0, 1, 3], [4, 5]]
    assert played_with([*first, *second], 0.0) == Playing(n_sent=6, n_lost=1)


def test_lateness_is_that_against_the_earliest() -> None:
    assert delays_ms(arrived(range(4), {0: 5.0, 2: 12.5})) == [5.0, 0.0, 12.5, 0.0]


class Tones:
    """A decoder whose sounds say what they are: the packet's number, or -1 and -2 for guesses."""

    def decode(self, packet: bytes) -> Pcm:
        return np.full(FRAME_SAMPLES, packet[0], dtype=np.int16)

    def conceal(self, n_samples: int) -> Pcm:
        return np.full(n_samples, -1, dtype=np.int16)

    def recover(self, next_packet: bytes, n_samples: int) -> Pcm:
        return np.full(n_samples, -2, dtype=np.int16)


def played(packets: list[tuple[int, float]]) -> Speaker:
    """What an ear plays of packets, given as their numbers and when they come, ms."""
    speaker = Speaker(Timeline(0))
    ear = Ear(Tones(), speaker)
    for number, at_ms in packets:
        ear.hear(
            Heard(65_530 + number & 0xFFFF, number * 960, False, bytes([number]), round(at_ms * 1e6)), "x"
        )
    return speaker


def test_packets_play_when_they_come() -> None:
    speaker = played([(1, 100), (2, 120), (3, 145), (4, 160)])
    heard = speaker.render()
    assert [int(heard[ms * MS]) for ms in (99, 100, 119, 139, 144, 145, 164, 165)] == [0, 1, 1, 2, 0, 3, 3, 4]


def test_a_loss_is_concealed_where_it_left_a_hole_and_delays_nobody() -> None:
    speaker = played([(1, 100), (4, 160), (5, 180)])
    heard = speaker.render()
    assert [int(heard[ms * MS]) for ms in (119, 120, 139, 140, 159, 160, 180)] == [1, -1, -1, -2, -2, 4, 5]
    assert speaker.end_sample == 200 * MS


def test_what_comes_after_its_successor_is_too_late() -> None:
    speaker = played([(1, 100), (3, 121), (2, 122), (4, 141)])
    assert set(np.unique(speaker.render())) == {0, -2, 1, 3, 4}
    assert speaker.end_sample == 161 * MS


# --- the load's own figures -------------------------------------------------------------------------------


def test_the_pace_of_a_spurt_is_judged_when_the_next_one_begins() -> None:
    pace = Pace()
    for n in range(30):
        pace.take(Heard(n, n * 960, False, b"", n * FRAME_NS + (12_000_000 if n == 20 else 0)))
    assert pace.late_ms == []
    pace.take(Heard(30, 500_000, False, b"", 10**11))
    assert len(pace.late_ms) == 20  # the first 200 ms do not count
    assert max(pace.late_ms) == 12.0
    assert sorted(pace.late_ms)[-2] == 0.0
    assert pace.n_gaps == 0


def test_an_echo_that_never_pauses_is_judged_all_the_same() -> None:
    pace = Pace()
    for n in range(600):
        pace.take(Heard(n & 0xFFFF, n * 960, True, b"", n * FRAME_NS + (80_000_000 if n == 300 else 0)))
    assert len(pace.late_ms) == 2 * 240
    assert pace.n_gaps == 1


# --- grids ------------------------------------------------------------------------------------------------


def test_the_grid_is_every_loss_with_every_jitter() -> None:
    assert len(set(full_grid())) == 20
    assert Cell(0, 0) in full_grid()
    assert cell("3x20") == Cell(3.0, 20.0)
    assert cell("2.5x0").name == "2.5x0"


@pytest.mark.parametrize("text", ["3", "x", "100x0", "-1x0", "3x-1", "3x20x1", "ax1"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        cell(text)


def test_a_cell_loses_what_it_says() -> None:
    for one in full_grid():
        path = Conditions().of(one)
        assert path.p_lost == pytest.approx(one.loss_percent / 100)
        assert path.jitter_ms == one.jitter_ms


def test_a_delay_runs_from_the_packet_that_holds_the_last_sample() -> None:
    spoken = [n * FRAME_NS for n in range(4)]
    delivered = [Delivered(320, 1_000_000, 0), Delivered(640, 25_000_000, 0), Delivered(1280, 90_000_000, 0)]
    assert delays_of(delivered, spoken) == [(0, 1.0), (FRAME_NS, 5.0), (3 * FRAME_NS, 30.0)]


def delays(late_ms: Sequence[float]) -> list[tuple[int, float]]:
    return [(n * FRAME_NS, late) for n, late in enumerate(late_ms)]


def test_a_delay_is_back_when_it_stays_back() -> None:
    assert back_after_ms(delays([1.0] * 100), 0, 5.0) == 0.0
    assert back_after_ms(delays([50.0] * 10 + [1.0] * 90), 0, 5.0) == pytest.approx(11 * 20 + 50, abs=61)
    assert back_after_ms(delays([1.0] * 50 + [40.0] * 50), 0, 5.0) is None
    assert back_after_ms(delays([1.0, 1.0, 30.0] + [1.0] * 90), 0, 5.0) == 0.0  # one hiccup of the machine
    assert back_after_ms([], 0, 5.0) is None


def test_a_burst_lasts_as_long_as_it_says() -> None:
    for kind in ("outage", "stall", "storm"):
        weather = burst(kind, 25)
        bad = [frame for frame in range(400) if weather(frame, 400) != weather(0, 400)]
        assert bad == list(range(LEAD_FRAMES + 100, LEAD_FRAMES + 125))
    assert burst("outage", 25)(LEAD_FRAMES + 100, 400).p_lost == 1.0
    assert burst("stall", 25)(LEAD_FRAMES + 100, 400).delay_ms == 500
    assert burst("stall", 25)(LEAD_FRAMES + 124, 400).delay_ms == 20


def test_the_agents_packets_are_timed_by_their_numbers() -> None:
    heard = AgentHeard()
    heard.add([Arrival(7, 0, 5_000_000), Arrival(9, 1920, 49_000_000)], [0, FRAME_NS, 2 * FRAME_NS])
    assert heard.delay_ms == [5.0, 9.0]
    assert heard.figures()["lost_share"] == pytest.approx(1 / 3)


def test_nothing_heard_has_no_shares() -> None:
    assert UserHeard().figures()["concealed_share"] is None
    assert AgentHeard().figures()["concealed_share"] is None


# --- two ways of calling ----------------------------------------------------------------------------------


def outcome(waits: Sequence[float | None], rng: random.Random) -> Outcome:
    turns = [Turn(n % 2, f"{n}.wav", None, wait_ms=wait) for n, wait in enumerate(waits)]
    rng.shuffle(turns)  # two callers end their turns in any order ...
    turns.sort(key=lambda turn: int(turn.file[:-4]) // 2)  # ... but each his own in his
    return Outcome(turns=turns)


def test_what_one_way_adds_is_found_question_by_question() -> None:
    rng = random.Random(1)
    added = compare(outcome([100.0, 300.0, 200.0], rng), outcome([150.0, 320.0, 290.0], rng))
    assert added.n_pairs == 3
    assert added.p50_ms == 90.0
    assert added.pairs_ms is not None
    assert added.pairs_ms.p50 == 50.0


def test_a_missing_answer_makes_no_pair_but_a_longer_percentile() -> None:
    rng = random.Random(1)
    added = compare(outcome([100.0, 300.0, 200.0], rng), outcome([150.0, None, 290.0], rng))
    assert added.n_pairs == 2
    assert added.p50_ms == 90.0
    assert added.p95_ms is None
