"""What of the server makes the dashboard? Its routes, and what tells them how things are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from starlette.routing import Route

from voicestack import __version__
from voicestack.aio.clock import unix_ms
from voicestack.config.schema import Config
from voicestack.core.turn_record import Origin
from voicestack.server.dashboard.api import DashboardApi, Shown
from voicestack.server.dashboard.live import Feed, InProgress, Sources
from voicestack.server.dashboard.pages import BUILT_DASHBOARD, page_routes
from voicestack.server.dashboard.standing import Capacity, Replicas, in_progress
from voicestack.server.ledger import Ledger
from voicestack.server.sessions import Sessions
from voicestack.server.site import read_site


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The dashboard of one server.

    Attributes:
        pages: Routes for everybody.
        api: Routes for whoever has a key.
        feed: Must run, and is told of turns by the ledger.
    """

    pages: Sequence[Route]
    api: Sequence[Route]
    feed: Feed


def dashboard_of(
    config: Config, ledger: Ledger, sessions: Sessions, *, replicas: Replicas, capacity: Capacity
) -> Dashboard:
    """The dashboard.

    Args:
        config: The configuration.
        ledger: The turns.
        sessions: The conversations in progress.
        replicas: Rows of `shapes.ReplicaRow`.
        capacity: As `shapes.Capacity`.
    """
    region = config.fleet.region

    def seen() -> Iterator[InProgress]:
        return in_progress(sessions.directory, sessions.clock.now_ns())

    feed = Feed(Sources(seen, replicas, capacity, unix_ms, region))
    ledger.listeners.append(feed)
    shown = Shown(
        ledger.reader,
        feed,
        replicas,
        capacity,
        Origin(profile=config.profile, region=region, release=__version__),
        keeps_transcripts=config.ledger.transcripts,
        ring_turns=config.ledger.ring_turns,
        unix_ms=unix_ms,
        is_welcome=sessions.guard.is_welcome_still,
        record_dir=config.telemetry.record_dir,
    )
    return Dashboard(page_routes(read_site(BUILT_DASHBOARD)), DashboardApi(shown).routes(), feed)
