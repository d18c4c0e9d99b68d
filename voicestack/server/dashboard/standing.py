"""How do the conversations in progress look?"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from voicestack.server.dashboard.live import InProgress
from voicestack.server.directory import Directory
from voicestack.session.glance import glance


def in_progress(directory: Directory, now_ns: int) -> Iterator[InProgress]:
    """The conversations, as they stand."""
    for live in directory:
        route = "websocket" if live.call is None else "webrtc"
        yield InProgress(live.principal.tenant, route, glance(live.session, now_ns))


Replicas = Callable[[], list[Mapping[str, Any]]]
Capacity = Callable[[], Mapping[str, Any]]
