"""A patient caller asks, waits for the answer, thinks, and asks again; one who is not answered gives up."""

import random

from voicestack.cli.bench_pace import FRAME_NS, PATIENCE_NS, Asker, Window

LINES = [[b"one", b"two"]]


def heard_frames(asker: Asker, window: Window, from_ns: int, n_frames: int, heard_ns: int = 0) -> list[bytes]:
    """What is said in so many frames; silence is left out."""
    frames = [asker.next_frame(from_ns + n * FRAME_NS, heard_ns, window) for n in range(n_frames)]
    return [frame for frame in frames if frame is not None]


def test_a_line_is_said_once_until_it_is_answered() -> None:
    asker, window = Asker(random.Random(1), LINES), Window()
    asker.begin(0)
    assert heard_frames(asker, window, 0, 105) == [b"one", b"two"]  # begins within two seconds
    assert heard_frames(asker, window, 105 * FRAME_NS, 100) == []
    answer_ends_ns = 300 * FRAME_NS
    asker.answered(205 * FRAME_NS, answer_ends_ns)
    assert heard_frames(asker, window, 205 * FRAME_NS, 95, answer_ends_ns) == []  # it listens to the end
    assert heard_frames(asker, window, 300 * FRAME_NS, 25, answer_ends_ns) == [b"one", b"two"]
    assert (window.user_ms, window.n_missing) == (80, 0)


def test_who_is_not_answered_gives_up_and_asks_again() -> None:
    asker, window = Asker(random.Random(1), LINES), Window()
    asker.begin(0)
    n_frames = PATIENCE_NS // FRAME_NS + 110
    assert heard_frames(asker, window, 0, n_frames) == [b"one", b"two"] * 2
    assert window.n_missing == 1


def test_an_agent_that_speaks_is_not_missing() -> None:
    asker, window = Asker(random.Random(1), LINES), Window()
    asker.begin(0)
    heard_frames(asker, window, 0, 105)
    late_ns = PATIENCE_NS + 105 * FRAME_NS
    assert heard_frames(asker, window, late_ns, 100, heard_ns=late_ns - 1) == []
    assert window.n_missing == 0


def test_who_talks_to_an_echo_waits_for_nobody() -> None:
    pause_ns = (10 * FRAME_NS, 11 * FRAME_NS)
    asker, window = Asker(random.Random(1), LINES, pause_ns=pause_ns), Window()
    asker.begin(0)
    assert heard_frames(asker, window, 0, 160)[:6] == [b"one", b"two"] * 3
    assert window.n_missing == 0
