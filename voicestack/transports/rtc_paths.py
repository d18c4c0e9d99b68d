"""Which of its paths does a connection use? One, until the peer comes back from elsewhere with another."""

import asyncio
import logging
from collections.abc import Callable

from aioice import Candidate

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.core.errors import Overloaded, TransportLost
from voicestack.transports.rtc_offer import Offer
from voicestack.transports.rtc_path import PathLostError, RtcPath, is_usable
from voicestack.transports.rtc_settings import RtcSettings

log = logging.getLogger(__name__)


class RtcPaths:
    """The path that carries everything, and perhaps one that will when it has connected.

    Args:
        settings: See `RtcPath`.
        clock: See `RtcPath`.
        scope: Owns the search for paths.
        on_datagram: Given everything that comes, over whichever path.
        on_gone: There is no way to the peer, and none is being looked for; given the reason.
    """

    def __init__(
        self,
        settings: RtcSettings,
        clock: Clock,
        scope: Scope,
        on_datagram: Callable[[bytes], None],
        on_gone: Callable[[str], None],
    ) -> None:
        self.client = ""
        self.n_restarts = 0
        self._settings, self._clock, self._scope = settings, clock, scope
        self._on_datagram = scope.guarded(on_datagram)
        self._on_lost = scope.guarded(self._lost)
        self._on_gone = on_gone
        self._current: RtcPath | None = None
        self._next: RtcPath | None = None
        self._is_lost = False  # the current one has no consent any more
        self._is_closed = False

    @property
    def latest(self) -> RtcPath:
        """The one that the last answer was about."""
        path = self._next or self._current
        assert path is not None
        return path

    def put(self, datagram: bytes) -> None:
        """Send to the peer now; dropped before there is a way."""
        if self._current is not None:
            self._current.put(datagram)

    async def prepare(self) -> None:
        """Gather the candidates of a new path. It takes the place of another that has not connected.

        Raises:
            Overloaded: no UDP port is free.
            TransportLost: closed meanwhile.
        """
        path = RtcPath(self._settings, self._clock, self._on_datagram, self._on_lost)
        try:
            await path.gather_candidates()
            if self._is_closed:
                raise TransportLost("the session is over")
            if not path.local_candidates:
                raise Overloaded("No UDP port is free for another call.", retry_after_ms=1000)
        except BaseException:
            await path.close()
            raise
        if self._current is None:
            self._current = path
            return
        outdated, self._next = self._next, path
        if outdated is not None:
            await outdated.close()

    def seek(self, offer: Offer, on_connected: Callable[[], None]) -> None:
        """Look for the peer over the latest path."""
        if self._next is None:
            self._scope.start(self._connect(self.latest, offer, on_connected), name="rtc-ice")
        else:
            self._scope.start(self._reconnect(self._next, offer), name="rtc-ice-restart")

    async def close(self) -> None:
        """Free the sockets."""
        self._is_closed = True
        for path in (self._current, self._next):
            if path is not None:
                await path.close()

    async def _connect(self, path: RtcPath, offer: Offer, on_connected: Callable[[], None]) -> None:
        try:
            await _establish(path, offer)
        except PathLostError:
            self._on_gone("no way to the peer was found")
        else:
            self.client = path.peer_address
            on_connected()

    async def _reconnect(self, path: RtcPath, offer: Offer) -> None:
        try:
            async with asyncio.timeout(self._settings.connect_timeout_ms / 1000):
                await _establish(path, offer)
        except (PathLostError, TimeoutError):
            if self._next is path:
                self._next = None
                if self._is_lost:
                    self._on_gone("the peer is gone")
            await path.close()
            return
        if self._next is not path:  # there was yet another restart
            await path.close()
            return
        left, self._current, self._next, self._is_lost = self._current, path, None, False
        self.n_restarts += 1
        log.info("%s goes on as %s", self.client, path.peer_address)
        self.client = path.peer_address
        if left is not None:
            await left.close()

    def _lost(self, path: RtcPath) -> None:
        if path is self._current:
            self._is_lost = True
            if self._next is None:
                self._on_gone("the peer is gone")


async def _establish(path: RtcPath, offer: Offer) -> None:
    candidates = [
        Candidate(each.foundation, 1, "udp", each.priority, each.host, each.port, each.kind)
        for each in offer.candidates
        if is_usable(each.host)
    ]
    await path.establish(offer.ufrag, offer.password, lite=offer.lite, candidates=candidates)
