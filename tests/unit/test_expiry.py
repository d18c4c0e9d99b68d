"""Work that nobody wants any more is dropped, wherever it waits; other work is not touched."""

import asyncio
from dataclasses import replace

import httpx
import pytest

from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.aio.expiry import Expiry
from voicestack.core.deadline import LIMIT_HEADER, TARGET_HEADER, Deadline, deadline_of, is_expired
from voicestack.core.errors import StageExpired, StageTimeout
from voicestack.engines.sse import refusal as llm_refusal
from voicestack.engines.stage_client import refusal
from voicestack.engines.vllm_dialect import SLO_HEADER, slo_headers
from voicestack.ports import SpeechRequest

MS_NS = 1_000_000


def in_ms(clock: LoopClock, target_ms: int, limit_ms: int) -> Deadline:
    return Deadline(clock.now_ns() + target_ms * MS_NS, clock.now_ns() + limit_ms * MS_NS)


def test_without_a_deadline_nothing_expires() -> None:
    assert not is_expired(None, 10**18)
    assert is_expired(Deadline(0, 10), 10)
    assert not is_expired(Deadline(0, 10), 9), "the target is not the limit"


def test_a_wait_ends_at_the_limit_and_is_counted() -> None:
    async def main() -> None:
        clock, loop = LoopClock(), asyncio.get_running_loop()
        expiry, began_s = Expiry("tts", clock), loop.time()
        with pytest.raises(StageExpired) as raised:
            async with expiry.within(in_ms(clock, 10, 40)):
                await asyncio.sleep(5)
        assert loop.time() - began_s == pytest.approx(0.04)
        assert (raised.value.code, raised.value.retryable) == ("deadline_exceeded", False)
        async with expiry.within(None), expiry.within(in_ms(clock, 10, 40)):
            await asyncio.sleep(0.039)
        async with expiry.within(in_ms(clock, 10, 40)) as limit:
            limit.reschedule(None)
            await asyncio.sleep(5)
        assert expiry.n_expired == 1

    run_virtual(main())


def test_what_has_expired_is_not_begun() -> None:
    async def main() -> None:
        clock = LoopClock()
        expiry, late = Expiry("llm", clock), in_ms(clock, -10, 0)
        begun = False
        with pytest.raises(StageExpired):
            async with expiry.within(late):
                begun = True
        assert not begun
        with pytest.raises(StageExpired):
            expiry.check(late)
        expiry.check(None)
        assert expiry.n_expired == 2

    run_virtual(main())


def test_a_timeout_of_the_work_itself_stays_one() -> None:
    async def main() -> None:
        expiry = Expiry("llm", LoopClock())
        with pytest.raises(TimeoutError):
            async with expiry.within(in_ms(LoopClock(), 10, 1000)), asyncio.timeout(0.01):
                await asyncio.sleep(5)
        assert expiry.n_expired == 0

    run_virtual(main())


def test_a_wait_is_as_long_as_usual_or_as_it_is_wanted() -> None:
    async def main() -> None:
        clock = LoopClock()
        expiry = Expiry("llm", clock)
        assert expiry.left_s(2.5, None) == 2.5
        assert expiry.left_s(2.5, in_ms(clock, 800, 10_000)) == 2.5
        assert expiry.left_s(2.5, in_ms(clock, 100, 1_000)) == pytest.approx(1.0)
        assert expiry.headers(None) == {}
        sent = expiry.headers(in_ms(clock, -5, 120))
        assert sent == {TARGET_HEADER: "-5", LIMIT_HEADER: "120"}

    run_virtual(main())


def test_a_router_is_told_what_is_left_until_the_target() -> None:
    assert slo_headers({TARGET_HEADER: "120", LIMIT_HEADER: "900"}) == {SLO_HEADER: "120"}
    assert slo_headers({TARGET_HEADER: "-1", LIMIT_HEADER: "900"}) == {}
    assert slo_headers({}) == {}


def test_only_what_begins_an_answer_has_to_begin_in_time() -> None:
    request = SpeechRequest("Yes.", deadline=Deadline(1, 2))
    assert request.begin_by == Deadline(1, 2)
    assert replace(request, follows=True).begin_by is None


@pytest.mark.parametrize("code", ["deadline_exceeded", "stage_timeout"])
def test_a_server_that_drops_expired_work_is_understood(code: str) -> None:
    body = b'{"error": {"code": "%s"}}' % code.encode()
    kind = StageExpired if code == "deadline_exceeded" else StageTimeout
    assert type(refusal(504, body, "tts")) is kind
    if kind is StageExpired:
        assert type(llm_refusal(504, body)) is kind


def test_the_headers_survive_a_proxy_that_changes_their_case() -> None:
    headers = httpx.Headers({"X-Voicestack-Target-Ms": "10", "X-VOICESTACK-LIMIT-MS": "20"})
    assert deadline_of(headers, 0) == Deadline(10 * MS_NS, 20 * MS_NS)
