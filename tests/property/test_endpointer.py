"""Edges of speech come in a lawful order and at lawful places, whatever the VAD says."""

from hypothesis import given
from hypothesis import strategies as st

from voicestack.turn.endpointer import Edge, Ended, Endpointer, EndpointRules, Paused, Resumed, Started

WINDOW = 512
RULES = EndpointRules(
    threshold=0.5, min_speech_samples=2 * WINDOW, soft_end_samples=3 * WINDOW, silence_samples=7 * WINDOW
)
opinions = st.lists(st.sampled_from([0.0, 0.2, 0.34, 0.36, 0.49, 0.5, 0.9, 1.0]), max_size=120)


def edges(opinions: list[float]) -> list[tuple[int, Edge]]:
    endpointer = Endpointer(RULES)
    out = []
    for n, p in enumerate(opinions, start=1):
        edge = endpointer.push(p, n * WINDOW)
        if edge is not None:
            out.append((n * WINDOW, edge))
    return out


@given(opinions)
def test_edges_alternate_lawfully(opinions: list[float]) -> None:
    state = "quiet"
    for _, edge in edges(opinions):
        match edge:
            case Started():
                assert state == "quiet"
                state = "speaking"
            case Paused():
                assert state == "speaking"
                state = "paused"
            case Resumed():
                assert state == "paused"
                state = "speaking"
            case Ended():
                assert state == "paused"
                state = "quiet"


@given(opinions)
def test_every_edge_is_where_the_opinions_say(opinions: list[float]) -> None:
    for at, edge in edges(opinions):
        n = at // WINDOW
        match edge:
            case Started(start_sample=start):
                assert at - start == RULES.min_speech_samples
                assert all(p >= 0.5 for p in opinions[start // WINDOW : n])
            case Paused(speech_end_sample=end):
                assert at - end == RULES.soft_end_samples
            case Ended(speech_end_sample=end):
                assert at - end == RULES.silence_samples
                assert all(p < 0.5 for p in opinions[end // WINDOW : n])
            case Resumed():
                assert opinions[n - 1] >= 0.5


def test_one_loud_window_is_a_click() -> None:
    assert edges([0, 1, 0, 1, 0, 0]) == []


def test_near_the_threshold_speech_does_not_flicker() -> None:
    assert [type(e).__name__ for _, e in edges([1, 1, 0.4, 0.4, 0.4, 0.4, 0.4])] == ["Started"]


def test_rules_can_change_in_mid_utterance() -> None:
    endpointer = Endpointer(RULES)
    for n, p in enumerate([1.0, 1.0, 0.0, 0.0, 0.0], start=1):
        endpointer.push(p, n * WINDOW)
    endpointer.rules = EndpointRules(0.5, 2 * WINDOW, 3 * WINDOW, 4 * WINDOW)
    assert endpointer.push(0.0, 6 * WINDOW) == Ended(2 * WINDOW)
