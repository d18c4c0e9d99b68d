"""The last turns, in memory: what the dashboard is drawn from.

A turn that ends costs an append. All else is done when somebody asks, and in their thread.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from voicestack.core.marks import TurnMarks
from voicestack.core.turn_record import TurnRecord
from voicestack.telemetry.turn_table import TurnTable

LONGEST_TURN_MS = 600_000
"""A turn that was over before another began at most so much later than that: replies end within minutes."""


class Ring:
    """Keeps the last turns. A `TurnListener`.

    Args:
        n_max: So many.
        earlier: Turns of a former process, oldest first.
        since_ms: All turns that began then or later are among those; 0 for all that ever were. Unix time.
    """

    def __init__(self, n_max: int, earlier: Iterable[TurnRecord] = (), *, since_ms: int = 0) -> None:
        self.n_max = n_max
        # Twice as long as the table: every turn may be followed by the word that it was heard.
        self._fresh: deque[TurnRecord | tuple[str, TurnMarks]] = deque(maxlen=2 * n_max)
        self._table = TurnTable(n_max)
        self._lock = threading.Lock()
        self._since_ms = since_ms
        self._table.add(earlier)

    def turn_recorded(self, record: TurnRecord) -> None:
        """See `TurnListener`."""
        self._fresh.append(record)

    def answer_heard(self, turn_id: str, marks: TurnMarks) -> None:
        """See `TurnListener`."""
        self._fresh.append((turn_id, marks))

    @contextmanager
    def table(self) -> Iterator[TurnTable]:
        """The turns up to now, from any thread. Who is in the block has them alone: be quick."""
        with self._lock:
            self._take_in()
            yield self._table

    @property
    def since_ms(self) -> int:
        """All turns that began then or later are here; 0 for all that ever were. Ask inside `table`."""
        oldest_ms = self._table.oldest_ms if self._table.has_dropped else None
        return self._since_ms if oldest_ms is None else max(self._since_ms, oldest_ms + LONGEST_TURN_MS)

    def _take_in(self) -> None:
        for _ in range(len(self._fresh)):
            match self._fresh.popleft():
                case (turn_id, marks):
                    self._table.heard(turn_id, marks)
                case TurnRecord() as record:
                    self._table.add([record])
