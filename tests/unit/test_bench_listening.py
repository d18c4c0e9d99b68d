"""Does the study of a bad network count what it says it counts?"""

import numpy as np
import pytest

from tests.support.speech import utterances
from voicestack.cli.bench_impair import Impairment
from voicestack.cli.bench_listening import listen_through
from voicestack.core.audio import Pcm


def speech(n_utterances: int = 4) -> Pcm:
    return np.concatenate([utterance.pcm for utterance in utterances()[:n_utterances]])


def test_a_good_path_costs_nothing() -> None:
    found = listen_through(speech(1), Impairment.of(delay_ms=50))
    assert found.wait_ms.max == found.behind_ms.max == 0
    assert (found.p_concealed, found.p_recovered, found.packets.n_lost) == (0, 0, 0)
    assert len(found.pcm) == len(speech(1)) // 320 * 320


def test_jitter_that_overtakes_nobody_costs_only_itself() -> None:
    found = listen_through(speech(1), Impairment.of(delay_ms=50, jitter_ms=19))
    assert found.wait_ms.max == 0
    assert 15 < found.behind_ms.max <= 19


def test_loss_without_reordering_costs_one_packet_time() -> None:
    found = listen_through(speech(), Impairment.of(0.05))
    assert found.packets.n_lost > 5
    assert found.wait_ms.p90 == 0
    assert found.wait_ms.max == pytest.approx(20)
    assert found.p_recovered + found.p_concealed == pytest.approx(found.packets.n_lost * 320 / len(found.pcm))
    assert found.p_recovered > 2 * found.p_concealed


def test_without_fec_it_is_all_made_up() -> None:
    found = listen_through(speech(), Impairment.of(0.05), p_expected_loss=0)
    assert found.p_recovered == 0
    assert found.p_concealed == pytest.approx(found.packets.n_lost * 320 / len(found.pcm))


def test_longer_runs_are_made_up_more_often() -> None:
    single = listen_through(speech(), Impairment.of(0.1))
    runs = listen_through(speech(), Impairment.of(0.1, n_burst=4))
    assert runs.p_concealed > 2 * single.p_concealed
    assert runs.behind_ms.p50 == single.behind_ms.p50 == 0, "the delay is back at once"


def test_the_wait_is_bounded_on_the_worst_of_paths() -> None:
    found = listen_through(speech(), Impairment.of(0.1, n_burst=3, delay_ms=40, jitter_ms=120))
    assert found.packets.n_reordered > 50
    assert found.wait_ms.max <= 60
    assert found.packets.n_late > 0


def test_nothing_is_not_measured() -> None:
    with pytest.raises(ValueError, match="nothing"):
        listen_through(speech(1)[:0], Impairment())
