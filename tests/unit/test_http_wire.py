"""How many connections may one address have that are no session yet?"""

import asyncio
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.server import ServerState

from voicestack.access.places import Proxies
from voicestack.aio.clock import LoopClock
from voicestack.config.access import LimitsSection
from voicestack.server.http_wire import HttpLimits, LimitedHttp


class Line(asyncio.Transport):
    """The server's side of a connection from some address."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 5555), "sockname": ("192.0.2.1", 80)})
        self.is_cut_off = False

    def abort(self) -> None:
        self.is_cut_off = True

    def close(self) -> None:
        self.is_cut_off = True

    def is_closing(self) -> bool:
        return self.is_cut_off


async def connected(shared: HttpLimits, address: str) -> tuple[LimitedHttp, Line]:
    settings = uvicorn.Config(Starlette(), ws="none", log_config=None)
    wire: Any = LimitedHttp(shared, config=settings, server_state=ServerState(), app_state={})
    line = Line(address)
    wire.connection_made(line)
    return wire, line


def test_connections_of_one_address_are_counted_and_forgotten() -> None:
    async def script() -> None:
        limits = LimitsSection(connections_per_address=2)
        shared = HttpLimits(limits, Proxies(["192.0.2.7"]), LoopClock())
        first, line = await connected(shared, "203.0.113.1")
        second, _ = await connected(shared, "203.0.113.1")
        assert not line.is_cut_off
        third, line = await connected(shared, "203.0.113.1")
        assert line.is_cut_off
        third.connection_lost(None)  # it was not counted, so it leaves nothing free
        fourth, line = await connected(shared, "203.0.113.1")
        assert line.is_cut_off
        fourth.connection_lost(None)
        first.connection_lost(None)
        fifth, line = await connected(shared, "203.0.113.1")
        assert not line.is_cut_off
        for address in ("203.0.113.2", "127.0.0.1", "192.0.2.7"):
            for _ in range(2):
                wire, line = await connected(shared, address)
                assert not line.is_cut_off
                wire.connection_lost(None)
        second.connection_lost(None)
        fifth.connection_lost(None)
        assert len(shared.seats) == 0

    asyncio.run(script())


def test_this_machine_and_proxies_are_not_counted() -> None:
    shared = HttpLimits(LimitsSection(), Proxies(["192.0.2.0/24"]), LoopClock())
    assert [bool(shared.seat_of(peer)) for peer in ("203.0.113.1", "192.0.2.7", "127.0.0.1", "::1", "")] == [
        *(True, False, False, False, False)
    ]
