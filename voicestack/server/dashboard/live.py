"""What happens now, told to whoever watches: turns that end, conversations as they are, the server's state.

Every watcher has a queue of its own that is bounded; one who does not read is let go.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from voicestack.aio.prefetch import Channel, Full
from voicestack.core.glance import Glance
from voicestack.core.marks import TurnMarks
from voicestack.core.turn_record import TurnRecord
from voicestack.telemetry.turn_filter import Reader, TurnFilter
from voicestack.telemetry.turn_rows import turn_row

MAX_WATCHERS = 32
"""A screen or two for each who operates the server, with room to spare."""
MAX_OF_TENANTS, MAX_OF_TENANT = 24, 8
"""So many of them may be no operators', and of one tenant: nobody locks the others out."""
MAX_UNREAD = 1_000
"""Events that one watcher may be behind: ten seconds of a hundred turns a second."""
TICK_S = 0.5
"""Conversations are told of at most so often."""
TICKS_PER_STATE = 4
"""The server's state, every 2 s."""
TICKS_PER_COMMENT = 30
"""A line that says nothing, every 15 s, for what sits between and ends silent connections."""

COMMENT = b": still here\n\n"


@dataclass(frozen=True, slots=True)
class InProgress:
    """A conversation.

    Attributes:
        tenant: Whose.
        route: The way in.
        glance: How it stands.
    """

    tenant: str
    route: str
    glance: Glance


@dataclass(frozen=True, slots=True)
class Sources:
    """What is told.

    Attributes:
        sessions: The conversations in progress.
        replicas: As in the API's `replicas`.
        capacity: As in the API's `capacity`.
        unix_ms: The time.
        region: Of all sessions here.
    """

    sessions: Callable[[], Iterable[InProgress]]
    replicas: Callable[[], Sequence[Mapping[str, Any]]]
    capacity: Callable[[], Mapping[str, Any]]
    unix_ms: Callable[[], int]
    region: str = "local"


@dataclass(slots=True, eq=False)
class Watcher:
    """Somebody who watches.

    Attributes:
        reader: What they may see.
        wanted: What they want to see, of tenant, route and region.
        is_welcome: Whether their key still counts.
        events: What they have not been told yet, as server-sent events; ends when they are let go.
        shown: The conversations as they were told last.
    """

    reader: Reader
    wanted: TurnFilter
    is_welcome: Callable[[], bool]
    events: Channel[bytes] = field(default_factory=lambda: Channel(MAX_UNREAD, name="dashboard"))
    shown: list[Any] | None = None

    def sees(self, tenant: str, route: str, region: str) -> bool:
        """Whether something of that origin is for them."""
        wanted = self.wanted
        return (
            (self.reader.is_operator or tenant == self.reader.tenant)
            and wanted.tenant in (None, tenant)
            and wanted.route in (None, route)
            and wanted.region in (None, region)
        )


class Feed:
    """Tells all watchers. A `TurnListener`.

    Args:
        sources: What is told.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._watchers: set[Watcher] = set()
        self._is_over = False
        self.n_dropped = 0

    def __len__(self) -> int:
        """How many watch."""
        return len(self._watchers)

    def is_full(self, reader: Reader) -> bool:
        """Whether they cannot watch, or not once more."""
        if self._is_over or len(self._watchers) >= MAX_WATCHERS:
            return True
        others = [one.reader.tenant for one in self._watchers if not one.reader.is_operator]
        full = len(others) >= MAX_OF_TENANTS or others.count(reader.tenant) >= MAX_OF_TENANT
        return full and not reader.is_operator

    def join(
        self, reader: Reader, wanted: TurnFilter, is_welcome: Callable[[], bool] = lambda: True
    ) -> Watcher:
        """Somebody begins to watch: they are told at once how things stand. Ask `is_full` first."""
        watcher = Watcher(reader, wanted, is_welcome)
        self._watchers.add(watcher)
        self._tell_sessions(watcher, list(self._sources.sessions()))
        self._tell_state([watcher])
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """They do not watch any more."""
        self._watchers.discard(watcher)
        watcher.events.close()

    def turn_recorded(self, record: TurnRecord) -> None:
        """See `TurnListener`."""
        if not self._watchers:
            return
        origin = record.origin
        of_whom = [one for one in self._watchers if one.sees(origin.tenant, origin.route, origin.region)]
        if of_whom:
            self._tell(of_whom, event_of("turn", turn_row(record)))

    def answer_heard(self, turn_id: str, marks: TurnMarks) -> None:
        """See `TurnListener`. It is told with the turn: only of short answers does it come later."""

    async def run(self, is_stopping: Callable[[], bool]) -> None:
        """Tell what is told from time to time, until the server stops; then let everybody go."""
        tick = 0
        while not is_stopping():
            await asyncio.sleep(TICK_S)
            tick += 1
            self._tick(tick)
        self._is_over = True
        for watcher in list(self._watchers):
            self.leave(watcher)

    def _tick(self, tick: int) -> None:
        for watcher in [one for one in self._watchers if not one.is_welcome()]:
            self.leave(watcher)
        if not self._watchers:
            return
        sessions = list(self._sources.sessions())
        for watcher in list(self._watchers):
            self._tell_sessions(watcher, sessions)
        if tick % TICKS_PER_STATE == 0:
            self._tell_state(self._watchers)
        if tick % TICKS_PER_COMMENT == 0:
            self._tell(self._watchers, COMMENT)

    def _tell_sessions(self, watcher: Watcher, sessions: Sequence[InProgress]) -> None:
        """Only what has changed is told; that time goes by is no change."""
        region = self._sources.region
        seen = [one for one in sessions if watcher.sees(one.tenant, one.route, region)]
        state = [_state(one) for one in seen]
        if state == watcher.shown:
            return
        watcher.shown = state
        rows = [{**_state(one), "since_ms": one.glance.since_ms} for one in seen]
        self._tell([watcher], event_of("live", {"at": self._sources.unix_ms(), "sessions": rows}))

    def _tell_state(self, watchers: Iterable[Watcher]) -> None:
        operators = [one for one in watchers if one.reader.is_operator]
        if operators:
            self._tell(operators, event_of("capacity", self._sources.capacity()))
            self._tell(operators, event_of("replicas", {"replicas": list(self._sources.replicas())}))

    def _tell(self, watchers: Iterable[Watcher], event: bytes) -> None:
        for watcher in list(watchers):
            try:
                watcher.events.put(event)
            except Full:
                self.n_dropped += 1
                self.leave(watcher)


def event_of(name: str, data: Mapping[str, Any]) -> bytes:
    """A server-sent event."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


def _state(one: InProgress) -> dict[str, Any]:
    glance = one.glance
    return {
        "session": glance.session,
        "tenant": one.tenant,
        "route": one.route,
        "user": glance.user,
        "reply": glance.reply,
        "turn": glance.turn,
        "rung": None if glance.rung is None else glance.rung.value,
    }
