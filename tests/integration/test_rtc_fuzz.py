"""Can anybody break a link with an offer? Mutilated ones are refused or answered, and nothing is left."""

import asyncio
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from tests.property.test_rtc_offer import mutilated
from tests.support.rtc_links import ON_LOOPBACK, LinkLog, in_real_time
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.core.errors import PeerProtocolError
from voicestack.transports.rtc_link import RtcLink


def n_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutilated())
def test_refused_or_answered_and_nothing_is_left(sdp: str) -> None:
    @in_real_time
    async def run() -> None:
        before, n_files = asyncio.all_tasks(), n_open_files()
        async with Scope() as scope:
            log = LinkLog(RtcLink(ON_LOOPBACK, SystemClock(), scope))
            try:
                answer = await log.link.answer(sdp)
            except PeerProtocolError:
                pass
            else:
                assert answer.startswith("v=0\r\n")
                await asyncio.sleep(0)  # candidates are being checked
        assert asyncio.all_tasks() == before
        await asyncio.sleep(0)
        assert n_open_files() == n_files

    run()
