"""Who writes an answer, when replicas are late, full, failing or far away? On virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

import pytest

from tests.support.replicas import Log, member, roster
from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.aio.orders import Orders
from voicestack.aio.scope import Scope
from voicestack.core.deadline import Deadline
from voicestack.core.errors import (
    StageError,
    StageExpired,
    StageOverloaded,
    StageRejected,
    StageUnavailable,
)
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId, own_session
from voicestack.core.rungs import Rung
from voicestack.engines.scripted import ScriptedLlm
from voicestack.fleet.breaker import BreakerState
from voicestack.fleet.choose import ChoosePolicy
from voicestack.fleet.keeper import Keeper, Kept, Ping
from voicestack.fleet.llm_pool import Hedging, LlmPool, probe_llm
from voicestack.fleet.member import Member
from voicestack.ports import Llm, LlmRequest

ASKED = (Message("system", "Be brief."), Message("user", "Hello?"))
ALWAYS = Hedging(ratio=1.0)


def saying(text: str, first_ms: float = 100, **more: object) -> ScriptedLlm:
    return ScriptedLlm([text], first_token_ms=first_ms, token_ms=10, **more)  # type: ignore[arg-type]


def pool_of(*members: Member[Llm], hedging: Hedging = ALWAYS, policy: ChoosePolicy | None = None) -> LlmPool:
    return LlmPool(roster(members, policy), clock=LoopClock(), hedging=hedging)


def request(log: Log, **more: object) -> LlmRequest:
    asked = LlmRequest(SessionId("s1"), TurnId(1), ASKED, trail=log)
    return replace(asked, **more)  # type: ignore[arg-type]


async def said(pool: LlmPool, asked: LlmRequest) -> str:
    async with aclosing(pool.reply(asked)) as deltas:
        return "".join([delta.text async for delta in deltas])


def run(script: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await script()

    run_virtual(main(), timeout_s=1_000)


def test_a_single_replica_is_asked_and_reported() -> None:
    async def script() -> None:
        llm = saying("Good day to you.")
        log = Log()
        pool = pool_of(member("local", llm))
        assert await said(pool, request(log)) == "Good day to you."
        assert log.told == [("local", 100.0, True)]
        assert log.rungs == []
        assert llm.closed == llm.requests
        (view,) = pool.replicas()
        assert (view.state, view.breaker, view.in_flight, view.requests, view.failures) == (
            *("warm", "closed", 0, 1, 0),
        )
        assert view.first_p50_ms == view.first_p95_ms == 100.0

    run(script)


def test_a_session_stays_at_its_replica_and_is_free_again_after_a_while() -> None:
    async def script() -> None:
        a, b = saying("A."), saying("B.")
        pool = pool_of(member("a", a), member("b", b))
        first = await said(pool, request(Log()))
        stays = {"A.": "a", "B.": "b"}[first]
        for _ in range(5):
            await asyncio.sleep(50)
            assert await said(pool, request(Log())) == first
        assert pool.roster.home("s1") == stays
        await asyncio.sleep(61)
        assert pool.roster.home("s1") == ""
        pool.release(SessionId("s1"))
        assert a.released == b.released == ["s1"]

    run(script)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StageUnavailable("gone", stage="llm"), "failed"),
        (StageOverloaded("full", stage="llm"), "overloaded"),
        (StageRejected("never", stage="llm"), "failed"),
    ],
)
def test_who_fails_before_the_first_token_is_replaced(error: StageError, reason: str) -> None:
    async def script() -> None:
        bad = saying("A.", fail_after_tokens=0, error=error)
        log = Log()
        pool = pool_of(member("local", bad), member("b", saying("B.", 200)))
        assert await said(pool, request(log)) == "B."
        assert log.told == [("local", None, False), ("b", 200.0, True)]
        assert log.rungs == [(Rung.SHED, reason)]
        assert pool.figures()["retries_total"] == 1

    run(script)


def test_what_has_begun_is_not_begun_again() -> None:
    async def script() -> None:
        bad, other = saying("One two three.", fail_after_tokens=1), saying("B.")
        pool = pool_of(member("local", bad), member("b", other))
        with pytest.raises(StageUnavailable):
            await said(pool, request(Log()))
        assert other.requests == []
        assert pool.replicas()[0].failures == 1

    run(script)


def test_what_is_no_fault_of_the_replica_is_not_asked_of_another() -> None:
    async def script() -> None:
        error = StageError("too long", stage="llm")
        bad, other = saying("A.", fail_after_tokens=0, error=error), saying("B.")
        pool = pool_of(member("local", bad), member("b", other))
        with pytest.raises(StageError, match="too long"):
            await said(pool, request(Log()))
        assert other.requests == []
        assert pool.replicas()[0].failures == 0

    run(script)


def test_when_all_fail_the_first_ones_reason_is_told() -> None:
    async def script() -> None:
        gone = StageUnavailable("gone", stage="llm")
        never = StageRejected("never", stage="llm")
        pool = pool_of(
            member("local", saying("A.", fail_after_tokens=0, error=gone)),
            member("b", saying("B.", fail_after_tokens=0, error=never)),
        )
        with pytest.raises(StageUnavailable, match="gone"):
            await said(pool, request(Log()))

    run(script)


def test_a_replica_that_keeps_failing_is_left_out_until_a_probe_goes_well() -> None:
    async def script() -> None:
        bad, other = saying("A.", fail_after_tokens=0, n_failures=3), saying("B.")
        first, second = member("local", bad), member("b", other)
        pool = pool_of(first, second)
        for _ in range(3):
            pool.release(SessionId("s1"))
            assert await said(pool, request(Log())) == "B."
        assert first.breaker.state(LoopClock().now_ns()) is BreakerState.OPEN
        n_asked = len(bad.requests)
        log = Log()
        assert await said(pool, request(log)) == "B."
        assert len(bad.requests) == n_asked
        async with Scope() as scope:
            keeper = Keeper([Kept(first, probe_llm), Kept(second, probe_llm)], 2.0)
            scope.start(keeper.run(), name="keeper")
            await asyncio.sleep(3)
        assert [one.session for one in bad.primes] == [own_session("fleet-probe")]
        assert first.breaker.state(LoopClock().now_ns()) is BreakerState.CLOSED
        pool.release(SessionId("s1"))
        assert await said(pool, request(Log())) == "A."

    run(script)


def test_who_said_never_is_healed_by_a_ping() -> None:
    async def script() -> None:
        never = saying("A.", fail_after_tokens=0, n_failures=1, error=StageRejected("no", stage="llm"))
        first = member("a", never)
        pool = pool_of(first, member("b", saying("B.")))
        assert await said(pool, request(Log())) == "B."
        pings = [Ping("warm", 20.0), Ping("down", is_sure=False), Ping("down", is_sure=False)]

        async def ping() -> Ping:
            return pings.pop(0) if pings else Ping("warm", 20.0)

        async with Scope() as scope:
            scope.start(Keeper([Kept(first, probe_llm, ping)], 2.0).run(), name="keeper")
            await asyncio.sleep(1)
            assert first.breaker.state(LoopClock().now_ns()) is BreakerState.CLOSED
            assert first.health.rtt_ms == 20.0
            await asyncio.sleep(2)
            assert first.now().state == "warm", "one ping that is late says nothing"
            await asyncio.sleep(2)
            assert first.now().state == "down"
            await asyncio.sleep(2)
            assert first.now().state == "warm"

    run(script)


# --- hedging ---------------------------------------------------------------------------------------------


def test_a_hedge_from_the_start_takes_the_first_token_and_closes_the_loser() -> None:
    async def script() -> None:
        slow, quick = saying("Slow.", 900), saying("Quick.", 150)
        log = Log()
        pool = pool_of(member("local", slow), member("b", quick))
        pool.roster.stay("s1", "local")
        assert await said(pool, request(log, rung=Rung.HEDGE)) == "Quick."
        assert log.told == [("local", None, False), ("b", 150.0, True)]
        assert slow.aborted == slow.requests
        assert quick.requests[0].rung is Rung.HEDGE
        assert slow.requests[0].rung is Rung.FULL
        assert pool.figures()["hedges_won_total"] == 1
        assert [one.in_flight for one in pool.replicas()] == [0, 0]

    run(script)


def test_a_hedge_by_order_comes_while_the_first_is_waited_for() -> None:
    async def script() -> None:
        slow, quick = saying("Slow.", 5_000), saying("Quick.", 100)
        pool, log, orders = pool_of(member("local", slow), member("b", quick)), Log(), Orders()
        pool.roster.stay("s1", "local")
        began_ns = LoopClock().now_ns()

        async def order() -> None:
            await asyncio.sleep(0.3)
            orders.give(Rung.SPECULATION)  # for nobody here
            orders.give(Rung.HEDGE)
            orders.give(Rung.HEDGE)  # once is enough

        async with Scope() as scope:
            scope.start(order(), name="planner")
            assert await said(pool, request(log, orders=orders)) == "Quick."
        assert LoopClock().now_ns() - began_ns == 400_000_000
        assert pool.figures()["hedges_total"] == 1
        assert slow.requests[0].orders is None, "one obeys"

    run(script)


def test_tokens_of_a_loser_are_wasted() -> None:
    async def script() -> None:
        pool, log = pool_of(member("a", saying("A.", 100)), member("b", saying("B.", 100))), Log()
        await said(pool, request(log, rung=Rung.HEDGE))
        assert log.n_wasted == 1
        assert sorted(use.won for use in log.uses) == [False, True]
        assert pool.figures()["wasted_tokens_total"] == 1

    run(script)


def test_one_of_two_that_fails_leaves_the_other() -> None:
    async def script() -> None:
        bad, slow = saying("A.", 10, fail_after_tokens=0), saying("B.", 500)
        pool, log = pool_of(member("local", bad), member("b", slow)), Log()
        pool.roster.stay("s1", "local")
        assert await said(pool, request(log, rung=Rung.HEDGE)) == "B."
        assert pool.figures()["retries_total"] == 0

    run(script)


def test_hedges_are_few_and_only_to_replicas_that_are_well_near_and_not_busy() -> None:
    async def script() -> None:
        for other, hedging in (
            (member("b", saying("B."), region="there"), ALWAYS),
            (member("b", saying("B.")), Hedging(ratio=0.0)),
        ):
            pool = pool_of(member("local", saying("A.", 500)), other, hedging=hedging)
            pool.roster.stay("s1", "local")
            assert await said(pool, request(Log(), rung=Rung.HEDGE)) == "A."
            assert pool.figures()["hedges_denied_total"] == 1
        cold = member("b", saying("B."))
        cold.health.state = "cold"
        pool = pool_of(member("local", saying("A.", 500)), cold)
        assert await said(pool, request(Log(), rung=Rung.HEDGE)) == "A."
        far = member("b", saying("B."), region="there")
        pool = pool_of(member("local", saying("A.", 500)), far, hedging=Hedging(1.0, away=True))
        assert await said(pool, request(Log(), rung=Rung.HEDGE)) == "B."
        pool = pool_of(member("a", saying("A.", 500)), member("b", saying("B.")), hedging=Hedging(0.05))
        pool.roster.stay("s1", "a")
        answers = [await said(pool, request(Log(), rung=Rung.HEDGE)) for _ in range(40)]
        assert pool.figures()["hedges_total"] == 3, "one to begin with, and one for every twenty"
        assert len(answers) == 40

    run(script)


# --- shedding --------------------------------------------------------------------------------------------


def test_by_order_another_one_answers_and_the_first_is_closed() -> None:
    async def script() -> None:
        stuck, far = saying("A.", 60_000), saying("B.", 100)
        first, second = member("local", stuck), member("b", far, region="there", rtt_ms=40)
        pool, log, orders = pool_of(first, second), Log(), Orders()

        async def order() -> None:
            await asyncio.sleep(0.3)
            orders.give(Rung.SHED)

        async with Scope() as scope:
            scope.start(order(), name="planner")
            assert await said(pool, request(log, orders=orders)) == "B."
        assert stuck.aborted == stuck.requests
        assert log.told == [("local", None, False), ("b", 100.0, True)]
        assert [use.region for use in log.uses] == ["here", "there"]
        assert far.requests[0].rung is Rung.SHED
        assert log.rungs == [], "whoever gave the order has written it down"
        assert pool.roster.home("s1") == "", "its KV is not there"

    run(script)


def test_when_the_other_one_fails_the_first_is_asked_again() -> None:
    async def script() -> None:
        pool = pool_of(
            member("local", saying("A.", 1_000)),
            member("b", saying("B.", 10, fail_after_tokens=0), region="there"),
        )
        orders, log = Orders(), Log()
        orders.give(Rung.SHED)
        assert await said(pool, request(log, orders=orders)) == "A."
        assert [use.replica for use in log.uses] == ["local", "b", "local"]

    run(script)


def test_from_the_start_another_one_answers() -> None:
    async def script() -> None:
        pool, log = pool_of(member("local", saying("A.")), member("b", saying("B."), region="there")), Log()
        assert await said(pool, request(log, rung=Rung.SHED)) == "B."
        alone = pool_of(member("local", saying("A.")))
        assert await said(alone, request(log, rung=Rung.SHED)) == "A."

    run(script)


def test_without_a_planner_it_goes_away_by_itself_when_that_is_sooner() -> None:
    async def script() -> None:
        stuck = saying("A.", 60_000)
        pool = pool_of(member("local", stuck), member("b", saying("B.", 100), region="there", rtt_ms=40))
        async with Scope() as scope:
            waits = scope.start(_discard(pool, request(Log())), name="first")
            await asyncio.sleep(0.5)
            log = Log()
            assert await said(pool, request(log, session=SessionId("s2"))) == "B."
            assert log.rungs == [(Rung.SHED, "forecast")]
            list(pool.ways(request(Log())))  # somebody plans now
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await said(pool, request(Log(), session=SessionId("s3")))
            waits.cancel()

    run(script)


async def _discard(pool: LlmPool, asked: LlmRequest) -> None:
    await said(pool, asked)


def test_a_replica_that_is_down_is_not_asked_and_that_is_said() -> None:
    async def script() -> None:
        local, far = member("local", saying("A.")), member("b", saying("B."), region="there")
        local.health.state = "down"
        pool, log = pool_of(local, far), Log()
        assert await said(pool, request(log)) == "B."
        assert log.rungs == [(Rung.SHED, "unavailable")]
        assert await said(pool, request(log, session=own_session("readiness"))) == "A."

    run(script)


# --- places ----------------------------------------------------------------------------------------------


def test_places_go_to_committed_replies_first_and_are_never_exceeded() -> None:
    async def script() -> None:
        llm = saying("A.", 100)
        pool = pool_of(member("local", llm, cap=2))
        done: list[str] = []

        async def one(name: str, *, draft: bool) -> None:
            await said(pool, request(Log(), session=SessionId(name), draft=draft))
            done.append(name)

        async with Scope() as scope:
            for name, draft in (("c1", False), ("c2", False), ("d", True), ("c3", False), ("c4", False)):
                scope.start(one(name, draft=draft), name=name)
                await asyncio.sleep(0.001)
                assert pool.n_in_flight("local") <= 2
            assert pool.figures()["waiting_requests"] == 3
            with pytest.raises(StageOverloaded):
                await pool.prime(request(Log()))
            await asyncio.sleep(2)
        assert done == ["c1", "c2", "c3", "c4", "d"]
        assert pool.n_in_flight("") == 0

    run(script)


def test_who_waits_too_long_is_dropped_and_who_goes_away_leaves_the_place_to_others() -> None:
    async def script() -> None:
        llm = saying("A.", 1_000)
        pool = pool_of(member("local", llm, cap=1))
        now_ns = LoopClock().now_ns()
        late = Deadline(now_ns + 100_000_000, now_ns + 500_000_000)
        async with Scope() as scope:
            scope.start(_discard(pool, request(Log(), session=SessionId("s0"))), name="first")
            await asyncio.sleep(0.001)
            gone = scope.start(_discard(pool, request(Log(), session=SessionId("s2"))), name="gone")
            with pytest.raises(StageExpired):
                await said(pool, request(Log(), deadline=late))
            assert LoopClock().now_ns() - now_ns == 500_000_000
            gone.cancel()
            assert await said(pool, request(Log())) == "A."
            with pytest.raises(StageExpired):
                await said(pool, request(Log(), deadline=late))
        assert [one.session for one in llm.requests] == ["s0", "s1"]

    run(script)


def test_an_abandoned_reply_leaves_nothing_behind() -> None:
    async def script() -> None:
        a, b = saying("A.", 5_000), saying("B.", 5_000)
        pool, log = pool_of(member("a", a), member("b", b)), Log()
        async with Scope() as scope:
            waits = scope.start(_discard(pool, request(log, rung=Rung.HEDGE)), name="reply")
            await asyncio.sleep(0.5)
            assert pool.n_in_flight("") == 2
            waits.cancel()
            await asyncio.sleep(0.01)
        assert pool.n_in_flight("") == 0
        assert a.aborted
        assert b.aborted
        assert [use.won for use in log.uses] == [False, False]
        async with aclosing(pool.reply(request(log))) as deltas:
            assert (await anext(deltas)).text in ("A.", "B.")
        assert pool.n_in_flight("") == 0

    run(script)


def test_it_says_what_could_be_done() -> None:
    async def script() -> None:
        local = member("local", saying("A."))
        near, far = member("b", saying("B.")), member("c", saying("C."), region="there", rtt_ms=40)
        pool = pool_of(local, near, far)
        pool.roster.stay("s1", "local")
        ways = {way.rung: way for way in pool.ways(request(Log()))}
        assert ways[Rung.FULL].replica == "local"
        assert ways[Rung.HEDGE].replica == "b"
        assert ways[Rung.SHED].replica == "b", "the nearest of the others"
        ways = {way.rung: way for way in pool_of(local, far).ways(request(Log()))}
        assert (ways[Rung.SHED].replica, ways[Rung.SHED].extra_ms) == ("c", 40 + 50)
        assert Rung.HEDGE not in ways
        alone = pool_of(member("local", saying("A.")))
        assert [way.rung for way in alone.ways(request(Log()))] == [Rung.FULL]

    run(script)


@pytest.mark.parametrize("region", ["here", "away"])
def test_a_replica_that_does_not_speculate_is_asked_when_the_first_token_is_urgent(region: str) -> None:
    async def script() -> None:
        drafting, plain = saying("Drafted.", 900), saying("Plain.", 100)
        pool = pool_of(
            member("local", drafting, speculates=True),
            member("also", saying("Also."), speculates=True),
            member("calm", plain, region=region),
        )
        is_near, log = region == "here", Log()
        ways = [(way.rung, way.replica) for way in pool.ways(request(log))]
        assert ((Rung.SPECULATION, "calm") in ways) == is_near
        assert (await said(pool, request(log, rung=Rung.SPECULATION)) == "Plain.") == is_near
        assert log.rungs == [], "the planner took it, and says so"
        orders = Orders()
        orders.give(Rung.SPECULATION)
        asked = request(log, session=SessionId("s2"), orders=orders)
        assert (await said(pool, asked) == "Plain.") == is_near

    run(script)


def test_where_nobody_speculates_the_rung_changes_nothing() -> None:
    async def script() -> None:
        pool, log, orders = (
            pool_of(member("local", saying("One.")), member("other", saying("Two."))),
            Log(),
            Orders(),
        )
        assert Rung.SPECULATION not in [way.rung for way in pool.ways(request(log))]
        orders.give(Rung.SPECULATION)
        assert await said(pool, request(log, rung=Rung.SPECULATION, orders=orders)) == "One."

    run(script)


def test_a_loser_is_closed_at_once() -> None:
    async def script() -> None:
        slow, quick = saying("Slow.", 900), saying("Quick and long.", 150)
        pool = pool_of(member("local", slow), member("b", quick))
        pool.roster.stay("s1", "local")
        async with aclosing(pool.reply(request(Log(), rung=Rung.HEDGE))) as deltas:
            await anext(deltas)
            await asyncio.sleep(0)
            assert slow.aborted == slow.requests
            assert [one.in_flight for one in pool.replicas()] == [0, 1]

    run(script)


def test_a_third_one_is_asked_before_the_one_that_was_left() -> None:
    async def script() -> None:
        pool = pool_of(
            member("local", saying("A.", 50)),
            member("b", saying("B.", 10, fail_after_tokens=0)),
            member("c", saying("C.", 90)),
        )
        pool.roster.stay("s1", "local")
        asked, log = Orders(), Log()
        asked.give(Rung.SHED)
        pool.roster.members["c"].figures.first(LoopClock().now_ns(), 5_000)  # so b is thought to be sooner
        assert await said(pool, request(log, orders=asked)) == "C."
        assert [use.replica for use in log.uses] == ["local", "b", "c"]

    run(script)


def test_one_that_is_full_is_left_alone_for_a_second() -> None:
    async def script() -> None:
        full = saying("A.", fail_after_tokens=0, n_failures=1, error=StageOverloaded("full", stage="llm"))
        first, cold = member("local", full), member("b", saying("B."))
        pool = pool_of(first, cold)
        assert await said(pool, request(Log())) == "B."
        pool.release(SessionId("s1"))
        cold.health.state = "cold"
        assert await said(pool, request(Log())) == "B.", "rather one that is slow than one that refuses"
        cold.health.state = "warm"
        await asyncio.sleep(1)
        pool.release(SessionId("s1"))
        assert await said(pool, request(Log())) == "A."
        assert first.view().failures == 0

    run(script)


def test_a_draft_leaves_the_last_place_to_a_committed_reply() -> None:
    async def script() -> None:
        pool = pool_of(member("local", saying("A.", 1_000), cap=2))
        began_ns = LoopClock().now_ns()
        async with Scope() as scope:
            scope.start(_discard(pool, request(Log(), session=SessionId("s0"))), name="first")
            await asyncio.sleep(0.001)
            draft = request(Log(), session=SessionId("s2"), draft=True)
            scope.start(_discard(pool, draft), name="draft")
            await asyncio.sleep(0.001)
            assert pool.figures()["waiting_requests"] == 1
            await said(pool, request(Log()))
        assert LoopClock().now_ns() - began_ns < 1_100_000_000, "the draft is not waited for"

    run(script)


def test_a_place_is_not_lost_with_who_was_to_have_it() -> None:
    async def script() -> None:
        only = member("local", saying("A.", 100), cap=1)
        pool = pool_of(only)
        async with Scope() as scope:
            scope.start(_discard(pool, request(Log(), session=SessionId("s0"))), name="first")
            await asyncio.sleep(0.001)
            gone = scope.start(_discard(pool, request(Log(), session=SessionId("s2"))), name="gone")
            await asyncio.sleep(0.001)

            def cancel() -> None:
                gone.cancel()  # between its being woken and its waking

            only.on_free.append(cancel)
            assert await said(pool, request(Log())) == "A."

    run(script)
