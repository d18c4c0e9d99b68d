"""Does the relay do to a connection exactly what it was told to?"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.cli.fault_cells import FAULTS, GARBAGE, STAGES, all_cells, cell_of
from voicestack.cli.fault_proxy import HEALTHY, Fault, FaultProxy, Lane, due_ns, request_is_whole

MS = 1_000_000
LIMIT_S = 20.0
ASK = b"POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
ANSWER = bytes(range(256)) * 40

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CLIENTS: list[Client] = []
Script = Callable[[FaultProxy], Awaitable[None]]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that says ANSWER to every ASK, and hangs up on `bye`."""
    try:
        while (asked := await reader.readexactly(len(ASK))) == ASK:
            writer.write(ANSWER)
            await writer.drain()
        assert asked.startswith(b"bye")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


@asynccontextmanager
async def proxied() -> AsyncIterator[FaultProxy]:
    async with asyncio.timeout(LIMIT_S), await asyncio.start_server(_answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with FaultProxy(f"http://127.0.0.1:{port}") as proxy, hung_up_at_the_end():
            yield proxy


@asynccontextmanager
async def hung_up_at_the_end() -> AsyncIterator[None]:
    CLIENTS.clear()
    yield
    for _, writer in CLIENTS:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def client_of(proxy: FaultProxy) -> Client:
    CLIENTS.append(await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2])))
    return CLIENTS[-1]


async def ask(client: Client, n_bytes: int = len(ANSWER)) -> bytes:
    client[1].write(ASK)
    return await client[0].readexactly(n_bytes)


def with_proxy(script: Script) -> None:
    async def main() -> None:
        async with proxied() as proxy:
            await script(proxy)

    asyncio.run(main())


def test_without_a_fault_everything_passes() -> None:
    async def script(proxy: FaultProxy) -> None:
        client = await client_of(proxy)
        for _ in range(3):
            assert await ask(client) == ANSWER
        assert proxy.n_requests == 3
        client[1].write(b"bye".ljust(len(ASK)))
        assert await client[0].read() == b"", "the server's end ends the client's"

    with_proxy(script)


def test_a_server_that_is_not_there_resets() -> None:
    async def main() -> None:
        nowhere = FaultProxy("unix:/nowhere/at/all")
        async with asyncio.timeout(LIMIT_S), nowhere as proxy, hung_up_at_the_end():
            client = await client_of(proxy)
            client[1].write(ASK)
            with pytest.raises(ConnectionResetError):
                await client[0].read()

    asyncio.run(main())


def test_stuck_is_for_good_on_a_connection_and_over_on_the_next() -> None:
    async def script(proxy: FaultProxy) -> None:
        client = await client_of(proxy)
        assert await ask(client) == ANSWER
        await proxy.become(Fault(is_stuck=True))
        client[1].write(ASK)
        new = await client_of(proxy)
        new[1].write(ASK)
        for one in (client, new):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await one[0].read(1)
        await proxy.become(HEALTHY)
        assert await ask(await client_of(proxy)) == ANSWER

    with_proxy(script)


def test_killed_resets_what_is_open_and_refuses_what_is_new_until_it_is_back_at_the_same_address() -> None:
    async def script(proxy: FaultProxy) -> None:
        client, url = await client_of(proxy), proxy.url
        assert await ask(client) == ANSWER
        await proxy.become(Fault(is_dead=True))
        with pytest.raises(ConnectionResetError):
            await client[0].read()
        with pytest.raises(ConnectionRefusedError):
            await client_of(proxy)
        await proxy.become(HEALTHY)
        assert proxy.url == url
        assert await ask(await client_of(proxy)) == ANSWER

    with_proxy(script)


def test_cut_resets_in_mid_answer() -> None:
    async def script(proxy: FaultProxy) -> None:
        await proxy.become(Fault(cut_after_bytes=1_000))
        client = await client_of(proxy)
        assert await ask(client, 1_000) == ANSWER[:1_000]
        with pytest.raises(ConnectionResetError):
            await client[0].read()

    with_proxy(script)


def test_garbage_takes_the_place_of_the_answer_when_the_request_is_whole() -> None:
    async def script(proxy: FaultProxy) -> None:
        client = await client_of(proxy)
        assert await ask(client) == ANSWER
        await proxy.become(Fault(answer=b"<html>"))
        client[1].write(ASK[:-1])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client[0].read(1)
        client[1].write(ASK[-1:])
        assert await client[0].read() == b"<html>", "and the connection is closed"

    with_proxy(script)


def test_a_throttled_answer_is_whole_and_takes_its_time() -> None:
    async def script(proxy: FaultProxy) -> None:
        await proxy.become(Fault(bytes_per_s=100_000))
        started_s = asyncio.get_running_loop().time()
        assert await ask(await client_of(proxy)) == ANSWER
        assert asyncio.get_running_loop().time() - started_s > 0.09

    with_proxy(script)


def test_slow_multiplies_the_time_to_every_byte() -> None:
    assert due_ns(1_000 * MS, 1_100 * MS, 1.0) == 1_100 * MS
    assert due_ns(1_000 * MS, 1_100 * MS, 5.0) == 1_500 * MS
    assert due_ns(1_000 * MS, 1_180 * MS, 5.0) == 1_900 * MS


def test_a_lane_keeps_order_time_and_pace() -> None:
    async def main() -> None:
        clock = LoopClock()
        zero_ns = clock.now_ns()
        left: list[tuple[float, bytes]] = []
        lane = Lane(clock, lambda data: left.append(((clock.now_ns() - zero_ns) / MS, data)))
        lane.carry(b"now", zero_ns)
        lane.carry(b"later", zero_ns + 50 * MS)
        lane.carry(b"behind", zero_ns)
        lane.carry(bytes(50), zero_ns + 100 * MS, 1_000)
        lane.carry(b"", zero_ns + 100 * MS, 1_000)
        await asyncio.sleep(1)
        assert [data for _, data in left[:3]] == [b"now", b"later", b"behind"]
        assert [round(at_ms) for at_ms, _ in left] == [0, 50, 50, 120, 140, 150, 150]
        assert [len(data) for _, data in left[3:]] == [20, 20, 10, 0]
        lane.carry(b"never", clock.now_ns() + 10 * MS)
        lane.close()
        await asyncio.sleep(1)
        assert left[-1][1] == b""

    run_virtual(main())


def test_where_a_request_ends() -> None:
    whole = b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"
    assert request_is_whole(whole)
    assert not any(request_is_whole(whole[:n]) for n in range(len(whole)))
    assert request_is_whole(b"GET / HTTP/1.1\r\n\r\n")


def test_the_matrix_has_every_fault_of_every_stage() -> None:
    names = [cell.name for cell in all_cells()]
    assert len(names) == len(set(names)) == 1 + len(STAGES) * (len(FAULTS) - 1)
    assert all(cell_of(name).name == name for name in names)
    healthy = {cell.name for cell in all_cells() if cell.fault(0) == HEALTHY}
    assert healthy == {"llm.none"}
    garbage = cell_of("tts.garbage")
    assert garbage.fault(0) != garbage.fault(1)
    assert garbage.fault(0) == garbage.fault(len(GARBAGE["tts"]))
    for bad in ("llm", "llm.sad", "vad.stuck"):
        with pytest.raises(ValueError, match=r"llm, tts"):
            cell_of(bad)
