"""Is everybody who watches told what is theirs, at once, not too often, and let go if they do not read?"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.turn_records import a_record
from tests.support.virtual_loop import run_virtual
from voicestack.aio.scope import Scope
from voicestack.core.glance import Glance
from voicestack.core.rungs import Rung
from voicestack.core.turn_record import Origin
from voicestack.server.dashboard import live
from voicestack.server.dashboard.live import Feed, InProgress, Sources, Watcher
from voicestack.server.dashboard.shapes import LiveSessions
from voicestack.server.dashboard.turn_shapes import TurnRow
from voicestack.telemetry.turn_filter import OPERATOR, Reader, TurnFilter

ALL = TurnFilter(0, 1)
ACME = Reader("acme")
QUIET = Glance("sess_1", "quiet", None, 1, 10.0)


@dataclass
class World:
    """What is told."""

    sessions: list[InProgress] = field(default_factory=list)
    is_stopping: bool = False

    def __post_init__(self) -> None:
        sources = Sources(
            lambda: self.sessions,
            lambda: [{"name": "llm-0"}],
            lambda: {"sessions": 3},
            lambda: 1_000,
            "eu-west",
        )
        self.feed = Feed(sources)


def unread(watcher: Watcher) -> list[tuple[str, Any]]:
    """Take what a watcher has not been told yet."""
    out: list[tuple[str, Any]] = []
    while len(watcher.events):
        event = watcher.events._items.popleft()
        if event != live.COMMENT:
            name, data = event.decode().rstrip("\n").split("\n")
            out.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return out


def names(watcher: Watcher) -> list[str]:
    return [name for name, _ in unread(watcher)]


def on_a_feed(script: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        world = World()
        async with Scope() as scope:
            scope.start(world.feed.run(lambda: world.is_stopping), name="feed")
            await script(world)

    run_virtual(run())


def test_who_comes_is_told_at_once_how_things_stand() -> None:
    world = World([InProgress("acme", "webrtc", replace(QUIET, rung=Rung.FILLER))])
    told = unread(world.feed.join(OPERATOR, ALL))
    assert [name for name, _ in told] == ["live", "capacity", "replicas"]
    LiveSessions.model_validate(told[0][1])
    assert told[0][1]["sessions"][0]["rung"] == "filler"
    assert names(world.feed.join(ACME, ALL)) == ["live"]


def test_conversations_are_told_when_they_change_and_twice_a_second_at_most() -> None:
    async def script(world: World) -> None:
        watcher = world.feed.join(ACME, ALL)
        world.sessions = [InProgress("acme", "webrtc", QUIET)]
        await asyncio.sleep(0.6)
        assert names(watcher) == ["live", "live"]
        for n in range(40):
            world.sessions = [InProgress("acme", "webrtc", replace(QUIET, since_ms=float(n)))]
            await asyncio.sleep(0.1)
        assert names(watcher) == []  # that time goes by is no news
        for n in range(40):
            world.sessions = [InProgress("acme", "webrtc", replace(QUIET, turn=n))]
            await asyncio.sleep(0.1)
        assert 7 <= len(names(watcher)) <= 9

    on_a_feed(script)


def test_the_servers_state_comes_every_two_seconds_to_operators() -> None:
    async def script(world: World) -> None:
        operator, tenant = world.feed.join(OPERATOR, ALL), world.feed.join(ACME, ALL)
        unread(operator), unread(tenant)
        await asyncio.sleep(10.2)
        assert names(operator) == ["capacity", "replicas"] * 5
        assert names(tenant) == []

    on_a_feed(script)


def test_a_silent_connection_gets_a_comment() -> None:
    async def script(world: World) -> None:
        watcher = world.feed.join(ACME, ALL)
        unread(watcher)
        await asyncio.sleep(15.2)
        assert list(watcher.events.waiting()) == [live.COMMENT]

    on_a_feed(script)


def test_turns_are_told_to_those_whose_they_are_and_who_want_them() -> None:
    world = World()
    origins = [
        Origin(tenant, route, region=region)
        for tenant in ("acme", "ringo")
        for route in ("webrtc", "websocket")
        for region in ("eu-west", "us-east")
    ]
    watchers = {
        "all": world.feed.join(OPERATOR, ALL),
        "acme": world.feed.join(ACME, ALL),
        "acme as ringo": world.feed.join(ACME, replace(ALL, tenant="ringo")),
        "ringo for the operator": world.feed.join(OPERATOR, replace(ALL, tenant="ringo")),
        "acme over webrtc in us-east": world.feed.join(ACME, replace(ALL, route="webrtc", region="us-east")),
    }
    for n, origin in enumerate(origins):
        world.feed.turn_recorded(a_record(id=f"sess.{n}", origin=origin))
    told = {name: [data for kind, data in unread(one) if kind == "turn"] for name, one in watchers.items()}
    for row in told["all"]:
        TurnRow.model_validate(row)
    assert {name: len(rows) for name, rows in told.items()} == {
        "all": 8,
        "acme": 4,
        "acme as ringo": 0,
        "ringo for the operator": 4,
        "acme over webrtc in us-east": 1,
    }


def test_a_tenant_sees_its_own_conversations_only() -> None:
    world = World([InProgress("acme", "webrtc", QUIET), InProgress("ringo", "webrtc", QUIET)])
    ((_, data),) = unread(world.feed.join(ACME, ALL))
    assert [one["tenant"] for one in data["sessions"]] == ["acme"]


def test_who_does_not_read_is_let_go_and_the_others_are_not() -> None:
    async def script(world: World) -> None:
        slow, quick = world.feed.join(ACME, ALL), world.feed.join(ACME, ALL)
        for n in range(live.MAX_UNREAD + 1):
            world.feed.turn_recorded(a_record(id=f"sess.{n}", origin=Origin("acme")))
            unread(quick)
        assert len(world.feed) == 1
        assert world.feed.n_dropped == 1
        assert len([event async for event in slow.events]) == live.MAX_UNREAD  # and then it ends
        world.feed.turn_recorded(a_record(origin=Origin("acme")))
        assert names(quick) == ["turn"]

    on_a_feed(script)


def test_only_so_many_may_watch_and_nobody_locks_the_others_out() -> None:
    world = World()
    tenants = [Reader(f"tenant {n}") for n in range(4)]
    watchers = []
    for reader in tenants:
        while not world.feed.is_full(reader):
            watchers.append(world.feed.join(reader, ALL))
    assert len(world.feed) == live.MAX_OF_TENANTS
    assert len([one for one in watchers if one.reader == tenants[0]]) == live.MAX_OF_TENANT
    while not world.feed.is_full(OPERATOR):
        watchers.append(world.feed.join(OPERATOR, ALL))
    assert len(world.feed) == live.MAX_WATCHERS
    world.feed.leave(watchers[-1])
    assert not world.feed.is_full(OPERATOR)
    assert world.feed.is_full(tenants[0])


def test_who_loses_the_key_is_let_go() -> None:
    async def script(world: World) -> None:
        keys = {"mine", "yours"}
        mine = world.feed.join(ACME, ALL, lambda: "mine" in keys)
        yours = world.feed.join(ACME, ALL, lambda: "yours" in keys)
        await asyncio.sleep(1)
        keys.remove("mine")
        assert len([event async for event in mine.events]) == 1
        world.feed.turn_recorded(a_record(origin=Origin("acme")))
        assert names(yours) == ["live", "turn"]

    on_a_feed(script)


def test_everybody_is_let_go_when_the_server_stops() -> None:
    async def script(world: World) -> None:
        watcher = world.feed.join(ACME, ALL)
        world.is_stopping = True
        told = [event async for event in watcher.events]
        assert len(told) == 1
        assert world.feed.is_full(OPERATOR)

    on_a_feed(script)


def test_nothing_is_made_for_nobody() -> None:
    """A turn that ends costs nothing but a look when nobody watches."""
    world = World()
    world.feed.turn_recorded(None)  # type: ignore[arg-type]
