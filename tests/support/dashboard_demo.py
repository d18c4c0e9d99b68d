"""The dashboard's real API over made-up turns, for whoever works on its page.

    python -m tests.support.dashboard_demo --port 8090

The page is at /dashboard when it has been built. With `--key` the API wants the key that is printed.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette

from tests.support.made_up_turns import HOUR_MS, REGIONS, ROUTES, TENANTS, Turns
from voicestack.access.guard import Guard
from voicestack.access.key_file import KeyFile, KeysInForce
from voicestack.access.keys import Terms, mint
from voicestack.aio.clock import SystemClock, unix_ms, unix_s
from voicestack.aio.scope import Scope
from voicestack.config.access import AccessSection, LimitsSection
from voicestack.core.glance import Glance
from voicestack.core.rungs import Rung
from voicestack.core.turn_record import Origin
from voicestack.server.dashboard.api import DashboardApi, Shown
from voicestack.server.dashboard.live import Feed, InProgress, Sources
from voicestack.server.dashboard.pages import BUILT_DASHBOARD, page_routes
from voicestack.server.http_guard import GuardedApp
from voicestack.server.site import read_site
from voicestack.telemetry.reading import LedgerReader
from voicestack.telemetry.ring import Ring

SHARES_MS = {"endpoint": 550.0, "asr": 50.0, "dispatch": 5.0, "llm": 100.0, "tts": 75.0, "send": 20.0}
N_SESSIONS = 14


class Demo:
    """What a busy server would know.

    Args:
        n_turns: Turns in the ring.
        hours: The time that they are spread over.
    """

    def __init__(self, n_turns: int, hours: float) -> None:
        now_ms = unix_ms()
        from_ms = now_ms - round(hours * HOUR_MS)
        self.turns = Turns(bad_from_ms=now_ms - round(hours * 0.45 * HOUR_MS))
        self.ring = Ring(max(n_turns, 10_000), self.turns.many(n_turns, from_ms, now_ms))
        self.random = np.random.default_rng(3)
        self.states = list(self._sessions())
        self.feed = Feed(Sources(lambda: self.states, self.replicas, self.capacity, unix_ms, "eu-west"))

    def _sessions(self) -> Iterator[InProgress]:
        for n in range(N_SESSIONS):
            glance = Glance(f"sess_live{n:04x}", "quiet", None, 1, 0.0)
            yield InProgress(TENANTS[n % 4], ROUTES[n % 4], glance)

    async def go_on(self) -> None:
        """Conversations move on, and turns end."""
        for n in count():
            await asyncio.sleep(float(self.random.exponential(0.25)))
            place = int(self.random.integers(N_SESSIONS))
            one = self.states[place]
            self.states[place] = replace(one, glance=self._next(one.glance))
            if n % 4 == 0:
                record = self.turns.one(unix_ms() - 2_000)
                self.ring.turn_recorded(record)
                self.feed.turn_recorded(record)

    def _next(self, glance: Glance) -> Glance:
        match glance.user, glance.reply:
            case "quiet", None:
                return replace(glance, user="speaking", turn=glance.turn + 1, rung=None, since_ms=10.0)
            case "speaking", None:
                return replace(glance, user="paused", reply="draft", rung=Rung.DRAFT, since_ms=64.0)
            case "paused", _:
                return replace(glance, user="quiet", reply="thinking", since_ms=540.0)
            case _, "thinking":
                rung = Rung.FILLER if self.random.random() < 0.1 else glance.rung
                return replace(glance, reply="audible", rung=rung, since_ms=5.0)
        return replace(glance, user="quiet", reply=None, since_ms=5.0)

    def replicas(self) -> list[Mapping[str, Any]]:
        """Three of each stage, one of them in trouble."""
        out: list[Mapping[str, Any]] = []
        for n, region in enumerate(REGIONS):
            for stage, name in (("asr", "asr"), ("llm", "llm-1"), ("llm", "llm-2"), ("tts", "tts")):
                is_down = (region, name) == ("ap-south", "llm-2")
                is_llm = stage == "llm"
                out.append(
                    {
                        "stage": stage,
                        "name": f"{name}-{region}",
                        "region": region,
                        "state": "down" if is_down else "cold" if (n, name) == (1, "llm-2") else "warm",
                        "breaker": "open" if is_down else "half_open" if n == 2 and is_llm else "closed",
                        "in_flight": 0 if is_down else int(self.random.integers(0, 9)),
                        "queue": None if stage == "asr" else int(self.random.integers(0, 4)),
                        "kv_used_ratio": float(self.random.uniform(0.2, 0.9)) if is_llm else None,
                        "acceptance_ratio": float(self.random.uniform(0.5, 0.8)) if is_llm else None,
                        "first_p50_ms": None if is_down else 40.0 + 30 * n,
                        "first_p95_ms": None if is_down else 120.0 + 60 * n,
                        "requests": 4_000 - 900 * n,
                        "failures": 37 if is_down else n,
                        "about": {"queue_requests": 1.0, "prefix_hit_ratio": 0.83} if is_llm else {},
                    }
                )
        return out

    def capacity(self) -> Mapping[str, Any]:
        """Busy, and not full."""
        return {
            "sessions": N_SESSIONS,
            "max_sessions": 64,
            "admitting": True,
            "reason": None,
            "predicted_p95_ms": 690.0 + float(self.random.uniform(-30, 60)),
            "budget_ms": 800.0,
            "headroom_sessions": 9,
            "refused": {"overloaded": 12, "rate_limit_exceeded": 3, "invalid_api_key": 1},
            "queues": [
                {"name": "asr", "waiting": 1, "wait_ms": 12.0},
                {"name": "llm", "waiting": 3, "wait_ms": 85.0},
                {"name": "tts", "waiting": 0, "wait_ms": None},
            ],
        }


def app_of(demo: Demo, keys: KeysInForce) -> GuardedApp:
    """The application, behind its guard as in the real server."""
    limits = LimitsSection()
    guard = Guard("127.0.0.1", AccessSection(), limits, keys, clock=SystemClock(), unix_s=unix_s)
    shown = Shown(
        LedgerReader(demo.ring, SHARES_MS),
        demo.feed,
        demo.replicas,
        demo.capacity,
        Origin(profile="gpu", region="eu-west", release="0.5.0-rc1"),
        keeps_transcripts=True,
        ring_turns=demo.ring.n_max,
        unix_ms=unix_ms,
        is_welcome=guard.is_welcome_still,
    )
    public = page_routes(read_site(BUILT_DASHBOARD))
    return GuardedApp(Starlette(routes=[*public, *DashboardApi(shown).routes()]), guard, limits, public)


async def main(arguments: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    demo = Demo(arguments.turns, arguments.hours)
    with tempfile.TemporaryDirectory() as folder:
        file = KeyFile(Path(folder) / "keys.json")
        for tenant in ("default", "acme") if arguments.key else ():
            made = mint(Terms(tenant=tenant), unix_s())
            file.change(lambda ring, key=made.key: ring.with_key(key))  # type: ignore[misc]
            print(f"key of tenant {tenant}: {made.secret}", flush=True)  # noqa: T201
        app = app_of(demo, KeysInForce(file))
        config = uvicorn.Config(
            app, host="127.0.0.1", port=arguments.port, lifespan="off", log_level="warning"
        )
        server = uvicorn.Server(config)
        print(f"http://127.0.0.1:{arguments.port}/dashboard", flush=True)  # noqa: T201
        async with Scope() as scope:
            scope.start(demo.go_on(), name="turns")
            scope.start(demo.feed.run(lambda: server.should_exit), name="feed")
            await server.serve()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--turns", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=24.0, help="the time that they are spread over")
    parser.add_argument("--key", action="store_true", help="ask for a key; two are printed")
    asyncio.run(main(parser.parse_args()))
