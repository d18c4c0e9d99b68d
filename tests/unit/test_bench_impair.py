"""Does the bad network do what it is asked to, exactly?"""

import asyncio
from itertools import groupby, pairwise
from typing import Any

import pytest

from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.cli import bench_impair
from voicestack.cli.bench_impair import Crossing, Impairment, Path, UdpRelay

MS = 1_000_000
N = 50_000


def arrivals(impairment: Impairment, *, seed: int = 1, n: int = N) -> list[int | None]:
    path = Path(impairment, seed)
    return [path.arrival_ns(20 * MS * i) for i in range(n)]


@pytest.mark.parametrize("p_loss", [0.0, 0.01, 0.03, 0.05, 0.10])
@pytest.mark.parametrize("n_burst", [None, 1.0, 2.0, 4.0])
def test_loss_is_what_it_should_be(p_loss: float, n_burst: float | None) -> None:
    impairment = Impairment.of(p_loss, n_burst=n_burst)
    lost = [at is None for at in arrivals(impairment)]
    assert impairment.p_lost == pytest.approx(p_loss)
    assert sum(lost) / N == pytest.approx(p_loss, rel=0.15, abs=0.0005)
    runs = [len(list(run)) for is_lost, run in groupby(lost) if is_lost]
    if p_loss:
        expected = 1 / (1 - p_loss) if n_burst is None else n_burst
        assert sum(runs) / len(runs) == pytest.approx(expected, rel=0.1)


def test_all_four_parameters_of_gilbert_and_elliott_count() -> None:
    impairment = Impairment(p_good_to_bad=0.02, p_bad_to_good=0.1, p_loss_good=0.01, p_loss_bad=0.4)
    p_bad = 0.02 / 0.12
    assert impairment.p_lost == pytest.approx(p_bad * 0.4 + (1 - p_bad) * 0.01)
    lost = [at is None for at in arrivals(impairment)]
    assert sum(lost) / N == pytest.approx(impairment.p_lost, rel=0.1)
    both = sum(a and b for a, b in pairwise(lost)) / N
    # The next packet finds the path as it was, with chance 0.9 when it was bad and 0.98 when it was good.
    bad, good = p_bad * 0.4, (1 - p_bad) * 0.01
    assert both == pytest.approx(bad * (0.9 * 0.4 + 0.1 * 0.01) + good * (0.98 * 0.01 + 0.02 * 0.4), rel=0.15)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.9"):
        Impairment.of(0.9, n_burst=1.5)
    with pytest.raises(ValueError, match="runs"):
        Impairment.of(0.1, n_burst=0.5)
    assert Impairment().p_lost == 0
    assert Impairment(p_good_to_bad=0, p_bad_to_good=0).p_lost == 0


def test_delays_are_spread_evenly() -> None:
    found = arrivals(Impairment.of(delay_ms=30, jitter_ms=60))
    delays_ms = [(at - 20 * MS * i) / MS for i, at in enumerate(found) if at is not None]
    assert len(delays_ms) == N
    assert 30 <= min(delays_ms) < 30.1
    assert 89.9 < max(delays_ms) <= 90
    assert sum(delays_ms) / N == pytest.approx(60, rel=0.01)
    assert sum(delay < 45 for delay in delays_ms) / N == pytest.approx(0.25, rel=0.05)


def test_packets_overtake_each_other_unless_they_queue() -> None:
    free = [at or 0 for at in arrivals(Impairment.of(jitter_ms=60))]
    queued = [at or 0 for at in arrivals(Impairment.of(jitter_ms=60, keeps_order=True))]
    assert free != sorted(free)
    assert queued == sorted(queued)
    assert all(0 <= at - 20 * MS * i <= 60 * MS for i, at in enumerate(queued))
    assert arrivals(Impairment.of(jitter_ms=19)) == sorted(
        at or 0 for at in arrivals(Impairment.of(jitter_ms=19))
    )


def test_a_seed_says_the_same_again() -> None:
    impairment = Impairment.of(0.1, n_burst=2, delay_ms=5, jitter_ms=40)
    assert arrivals(impairment, n=500) == arrivals(impairment, n=500)
    assert arrivals(impairment, n=500) != arrivals(impairment, seed=2, n=500)


def test_loss_does_not_change_the_delays_of_the_rest() -> None:
    """So that two cells of a grid differ in what they are meant to differ in."""
    whole = arrivals(Impairment.of(jitter_ms=40), n=500)
    holes = arrivals(Impairment.of(0.1, jitter_ms=40), n=500)
    assert {a - b for a, b in zip(whole, holes, strict=True) if a is not None and b is not None} == {0}


def test_packets_arrive_on_the_nanosecond() -> None:
    async def scenario() -> None:
        clock = LoopClock()
        crossing = Crossing(Path(Impairment.of(delay_ms=7, jitter_ms=60), 3), clock)
        twin = Path(Impairment.of(delay_ms=7, jitter_ms=60), 3)
        expected, got = [], []
        for n in range(200):
            expected.append((twin.arrival_ns(clock.now_ns()), bytes([n])))
            crossing.carry(bytes([n]), lambda data: got.append((clock.now_ns(), data)))
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        assert got == sorted(expected, key=lambda packet: packet[0] or 0)
        figures = crossing.figures
        assert figures.late_ms == [0.0] * 200
        assert figures.n_packets == figures.n_bytes == 200
        numbers = [data[0] for _, data in got]
        assert figures.n_overtaken == sum(n < max(numbers[: i + 1]) for i, n in enumerate(numbers)) > 0

    run_virtual(scenario())


def test_what_needs_no_time_goes_at_once() -> None:
    async def scenario() -> None:
        got: list[bytes] = []
        crossing = Crossing(Path(Impairment(), 1), LoopClock())
        crossing.carry(b"1", got.append)
        assert got == [b"1"]
        crossing.path.impairment = Impairment.of(delay_ms=10)
        crossing.carry(b"2", got.append)
        crossing.path.impairment = Impairment.of(keeps_order=True)
        crossing.carry(b"3", got.append)
        assert got == [b"1"]
        await asyncio.sleep(0.011)
        assert got == [b"1", b"2", b"3"], "a queue keeps its order when the path changes"
        crossing.path.impairment = Impairment.of(delay_ms=10)
        crossing.carry(b"4", got.append)
        crossing.close()
        await asyncio.sleep(1)
        assert got == [b"1", b"2", b"3"]

    run_virtual(scenario())


def test_a_queue_keeps_its_order_when_a_timer_is_late() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        got: list[bytes] = []
        crossing = Crossing(Path(Impairment.of(delay_ms=10, keeps_order=True), 1), LoopClock())

        def second() -> None:
            crossing.path.impairment = Impairment.of(keeps_order=True)
            crossing.carry(b"2", got.append)

        loop.call_at(loop.time() + 0.01, second)  # at the same instant as the first's timer, and before it
        crossing.carry(b"1", got.append)
        await asyncio.sleep(0.1)
        assert got == [b"1", b"2"]

    run_virtual(scenario())


def test_a_packet_that_overtakes_moves_the_timer() -> None:
    async def scenario() -> None:
        clock = LoopClock()
        start_ns = clock.now_ns()
        got: list[tuple[int, bytes]] = []
        crossing = Crossing(Path(Impairment.of(delay_ms=50), 1), clock)
        crossing.carry(b"1", lambda data: got.append(((clock.now_ns() - start_ns) // MS, data)))
        crossing.path.impairment = Impairment.of(delay_ms=10)
        crossing.carry(b"2", lambda data: got.append(((clock.now_ns() - start_ns) // MS, data)))
        await asyncio.sleep(0.1)
        assert got == [(10, b"2"), (50, b"1")]

    run_virtual(scenario())


def test_the_way_is_not_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(bench_impair, "MAX_QUEUED", 10)
        got: list[bytes] = []
        crossing = Crossing(Path(Impairment.of(delay_ms=10), 1), LoopClock())
        for _ in range(15):
            crossing.carry(b"x", got.append)
        await asyncio.sleep(1)
        assert (len(got), crossing.figures.n_overflowed) == (10, 5)

    run_virtual(scenario())


# --- with sockets -----------------------------------------------------------------------------------------


class Mouth(asyncio.DatagramProtocol):
    """Keeps what it is sent; answers it, when it is a server."""

    def __init__(self, *, answers: bool) -> None:
        self.answers = answers
        self.got: list[bytes] = []
        self.changed = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.append(data)
        self.changed.set()
        if self.answers:
            self.transport.sendto(b"to " + data, addr)

    async def until(self, n_packets: int) -> list[bytes]:
        while len(self.got) < n_packets:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 20)
        return self.got


async def server() -> tuple[Mouth, tuple[str, int]]:
    transport, mouth = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Mouth(answers=True), local_addr=("127.0.0.1", 0)
    )
    return mouth, transport.get_extra_info("sockname")


async def client(relay: UdpRelay) -> Mouth:
    _, mouth = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Mouth(answers=False), remote_addr=relay.address
    )
    return mouth


def test_answers_find_the_client_that_asked() -> None:
    async def scenario() -> None:
        served, address = await server()
        async with UdpRelay(address, up=Impairment(), down=Impairment.of(delay_ms=1)) as relay:
            one, two = await client(relay), await client(relay)
            for n in range(5):
                one.transport.sendto(b"1%d" % n)
                two.transport.sendto(b"2%d" % n)
            assert await one.until(5) == [b"to 1%d" % n for n in range(5)]
            assert await two.until(5) == [b"to 2%d" % n for n in range(5)]
            assert len(relay.clients) == 2
            assert relay.up.figures.n_packets == relay.down.figures.n_packets == 10
            assert len(relay.down.figures.late_ms) == 10
            assert min(relay.down.figures.late_ms) >= 0
            one.transport.close()
            two.transport.close()
        served.transport.close()

    asyncio.run(scenario())


def test_each_way_has_its_own_path() -> None:
    async def scenario() -> None:
        served, address = await server()
        async with UdpRelay(address, up=Impairment(), down=Impairment.of(0.5, n_burst=2)) as relay:
            asking = await client(relay)
            asking.transport.sendto(b"first")
            await served.until(1)
            for _ in range(99):
                asking.transport.sendto(b"more")
            assert len(await served.until(100)) == 100
            while relay.down.figures.n_packets < 100:  # noqa: ASYNC110 (real sockets)
                await asyncio.sleep(0.001)
            assert relay.up.figures.n_lost == 0
            assert 20 < relay.down.figures.n_lost < 80
            await asking.until(100 - relay.down.figures.n_lost)
            asking.transport.close()
        served.transport.close()

    asyncio.run(scenario())


def test_strangers_are_counted_and_a_missing_server_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(bench_impair, "MAX_CLIENTS", 1)
        served, address = await server()
        served.transport.close()
        async with UdpRelay(address, up=Impairment(), down=Impairment()) as relay:
            one, two = await client(relay), await client(relay)
            one.transport.sendto(b"1")
            while not relay.up.figures.n_packets:  # noqa: ASYNC110 (real sockets)
                await asyncio.sleep(0.001)
            two.transport.sendto(b"2")
            while not relay.n_refused:  # noqa: ASYNC110 (real sockets)
                await asyncio.sleep(0.001)
            one.transport.sendto(b"3")
            while relay.up.figures.n_packets < 2:  # noqa: ASYNC110 (real sockets)
                await asyncio.sleep(0.001)
            one.transport.close()
            two.transport.close()

    asyncio.run(scenario())
