"""How is a costly question answered once a minute, however often it is asked?"""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")

KEPT_MS = 60_000


class Kept(Generic[V]):
    """Answers that are good for a minute at most: until the wall clock's next one begins. For any thread.

    Only one question is worked on at a time; who asks the same one meanwhile gets the same answer.

    Args:
        n_max: Answers kept at once.
        unix_ms: The time.
    """

    def __init__(self, n_max: int, unix_ms: Callable[[], int]) -> None:
        self._n_max, self._unix_ms = n_max, unix_ms
        self._answers: dict[Hashable, V] = {}
        self._minute = -1
        self._lock = threading.Lock()

    def get(self, question: Hashable, answer: Callable[[], V]) -> V:
        """The answer. What `answer` raises comes out, and is not kept."""
        with self._lock:
            minute = self._unix_ms() // KEPT_MS
            if minute != self._minute:
                self._answers.clear()
                self._minute = minute
            if question not in self._answers:
                made = answer()
                while len(self._answers) >= self._n_max:
                    del self._answers[next(iter(self._answers))]
                self._answers[question] = made
            return self._answers[question]
