"""100 000 wrong frames: nothing crashes, nothing is left behind.

Takes some minutes: `python -m pytest tests/soak/test_fuzz_long.py -s --timeout 0`.
"""

import gc
import sys
import tracemalloc

from tests.support.fuzz import EVENTS, Storm, weather_a_storm

N_SESSIONS, N_FRAMES = 250, 400
MAX_GROWTH_BYTES = 1_000_000
"""Caches fill (regular expressions, gather tables, interned strings). A session that stayed would be more."""


def test_a_hundred_thousand_wrong_frames() -> None:
    n_frames = n_replies = 0
    tracemalloc.start()
    before = 0
    for seed in range(N_SESSIONS):
        came_back, replies = weather_a_storm(Storm(EVENTS, seed), N_FRAMES)
        n_frames, n_replies = n_frames + came_back, n_replies + replies
        if seed == N_SESSIONS // 2:
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
    gc.collect()
    growth = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    said = f"{N_SESSIONS * N_FRAMES} frames in, {n_frames} out, {n_replies} replies, {growth} bytes more"
    sys.stdout.write(said + "\n")
    assert growth < MAX_GROWTH_BYTES
