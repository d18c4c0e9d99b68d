"""Scopes, channels and clocks."""

import asyncio

import pytest

from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock, SystemClock, WallAnchor
from voicestack.aio.prefetch import Channel, Full
from voicestack.aio.scope import Scope


async def for_ever(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("child")


def test_children_end_with_the_body() -> None:
    async def scenario() -> list[str]:
        ended: list[str] = []
        async with Scope() as scope:
            scope.start(for_ever(ended), name="child")
            await asyncio.sleep(1)
        return ended

    assert run_virtual(scenario()) == ["child"]


def test_a_childs_error_ends_the_body_and_comes_out_as_itself() -> None:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise KeyError("x")

    async def scenario() -> None:
        async with Scope() as scope:
            scope.start(fail(), name="fail")
            await asyncio.sleep(100)

    with pytest.raises(KeyError):
        run_virtual(scenario())


def bug() -> None:
    raise KeyError("a bug")


def test_a_guarded_callback_ends_its_scope_and_not_the_loop() -> None:
    async def scenario() -> None:
        async with Scope() as scope:
            clock = scope.clock(LoopClock())
            clock.call_at(clock.now_ns() + 10, bug)
            await asyncio.sleep(100)

    with pytest.raises(KeyError):
        run_virtual(scenario())


def test_a_task_started_while_the_scope_ends_is_cancelled_too() -> None:
    async def scenario() -> list[str]:
        ended: list[str] = []

        async def last_words(scope: Scope) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                scope.start(for_ever(ended), name="too late")

        async with Scope() as scope:
            scope.start(last_words(scope), name="last words")
            await asyncio.sleep(1)
        return ended

    assert run_virtual(scenario(), timeout_s=60) == []


def test_a_channel_is_bounded_and_ends_after_what_was_put() -> None:
    async def scenario() -> list[int]:
        channel: Channel[int] = Channel(2, name="test")
        channel.put(1)
        channel.put(2)
        with pytest.raises(Full):
            channel.put(3)
        channel.close()
        channel.put(4)
        return [item async for item in channel]

    assert run_virtual(scenario()) == [1, 2]


def test_a_reader_waits_for_the_writer() -> None:
    async def scenario() -> list[int]:
        channel: Channel[int] = Channel(2, name="test")

        async def write() -> None:
            for n in range(5):
                await asyncio.sleep(1)
                channel.put(n)
            channel.close()

        async with Scope() as scope:
            scope.start(write(), name="write")
            return [item async for item in channel]

    assert run_virtual(scenario()) == [0, 1, 2, 3, 4]


def test_the_system_clock_never_calls_early() -> None:
    async def scenario() -> list[int]:
        clock, early = SystemClock(), []
        done = asyncio.Event()
        for n in range(20):
            at_ns = clock.now_ns() + n * 1_300_000
            clock.call_at(at_ns, lambda at_ns=at_ns: early.append(at_ns - clock.now_ns()))  # type: ignore[misc]
        clock.call_at(clock.now_ns() + 30_000_000, done.set)
        clock.call_at(clock.now_ns() + 5_000_000, lambda: early.append(99_000_000)).cancel()
        await done.wait()
        return early

    early = asyncio.run(scenario())
    assert len(early) == 20
    assert max(early) < 600_000


def test_the_anchor_relates_two_clocks() -> None:
    async def scenario() -> WallAnchor:
        return WallAnchor.now(SystemClock())

    anchor = asyncio.run(scenario())
    assert anchor.wall_ns > anchor.mono_ns
