"""How long would work wait in front of a stage that has so much to do? Pure.

A stage is taken for an M/G/c queue: arrivals do not know of each other, and any of c places does. What a
place is busy for varies; by Allen and Cunneen the wait grows with that as (1 + cv^2) / 2 (A. O. Allen,
"Probability, Statistics, and Queueing Theory", 2nd ed., 1990, 5.3).
"""

import math


def p_wait(busy_ratio: float, n_places: int) -> float:
    """The probability that all places are taken when work comes: Erlang's C.

    Args:
        busy_ratio: Share of the places that is taken on average, 0..1.
        n_places: At least 1.
    """
    if busy_ratio <= 0.0:
        return 0.0
    if busy_ratio >= 1.0:
        return 1.0
    offered = busy_ratio * n_places
    blocked = 1.0  # Erlang's B, by its recursion
    for n in range(1, n_places + 1):
        blocked = offered * blocked / (n + offered * blocked)
    return blocked / (1.0 - busy_ratio * (1.0 - blocked))


def wait_ms(busy_ratio: float, n_places: int, service_ms: float, share: float, cv2: float = 1.0) -> float:
    """What `share` of all work does not wait longer than; infinite where more comes than can be done.

    Args:
        busy_ratio: See `p_wait`; may be more than 1.
        n_places: Likewise.
        service_ms: What a piece of work takes a place for on average.
        share: 0..1, less than 1.
        cv2: The squared coefficient of variation of that; 1 for exponential times, 0 for equal ones.
    """
    if service_ms <= 0.0 or busy_ratio <= 0.0:
        return 0.0
    if busy_ratio >= 1.0:
        return math.inf
    p = p_wait(busy_ratio, n_places)
    if p <= 1.0 - share:
        return 0.0
    rate = n_places * (1.0 - busy_ratio) / service_ms
    return (1.0 + cv2) / 2 * math.log(p / (1.0 - share)) / rate
