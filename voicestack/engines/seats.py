"""In which KV slot of the server does the prompt of a session live?

llama-server keeps one prompt per slot. A session that comes back to its slot pays only for what is new.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from voicestack.core.ids import SessionId

ANY_SLOT = -1
"""llama-server's `id_slot` for "choose yourself": the idle slot with the most similar prompt."""


@dataclass(slots=True)
class _Seat:
    slot: int
    n_requests: int = 0


class Seats:
    """Which session sits in which slot.

    A new session gets a free slot, else that of the session that was quiet for longest. When every slot is
    at work the server chooses.
    """

    def __init__(self, n_slots: int) -> None:
        self._free = deque(range(n_slots))
        self._seats: OrderedDict[SessionId, _Seat] = OrderedDict()

    @contextmanager
    def taken(self, session: SessionId) -> Iterator[int]:
        """The session's slot for one request, ANY_SLOT if none can be had. It is kept afterwards."""
        seat = self._find(session)
        if seat is None:
            yield ANY_SLOT
            return
        seat.n_requests += 1
        self._seats.move_to_end(session)
        try:
            yield seat.slot
        finally:
            seat.n_requests -= 1

    def release(self, session: SessionId) -> None:
        """The session is over."""
        if seat := self._seats.pop(session, None):
            self._free.append(seat.slot)

    def _find(self, session: SessionId) -> _Seat | None:
        if session in self._seats:
            return self._seats[session]
        if not self._free:
            quiet = next((s for s, seat in self._seats.items() if seat.n_requests == 0), None)
            if quiet is None:
                return None
            self.release(quiet)
        return self._seats.setdefault(session, _Seat(self._free.popleft()))
