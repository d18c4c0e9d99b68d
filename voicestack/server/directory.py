"""Which conversations are going on, and who may know of them?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from voicestack.access.principal import Principal
from voicestack.core.errors import VoiceStackError
from voicestack.core.ids import SessionId
from voicestack.session.session import Session
from voicestack.transports.webrtc import WebRtcTransport
from voicestack.transports.ws_peer import WebSocketPeer


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """A conversation in progress.

    Attributes:
        id: Its name on the wire.
        principal: On whose behalf it is held.
        session: It.
        end: Tells the peer why and hangs up, with this WebSocket close code.
        join: Lets a further connection take part.
        call_id: Its other name, if it is a call over WebRTC.
        call: Likewise, what carries it.
    """

    id: SessionId
    principal: Principal
    session: Session
    end: Callable[[VoiceStackError, int], None]
    join: Callable[[WebSocketPeer], None]
    call_id: str = ""
    call: WebRtcTransport | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (self.id, self.call_id) if self.call_id else (self.id,)


class Directory:
    """All conversations in progress. One tenant's cannot be found by another, whatever name it guesses."""

    def __init__(self) -> None:
        self._live: dict[SessionId, Live] = {}
        self._named: dict[tuple[str, str], Live] = {}

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[Live]:
        return iter(self._live.values())

    def add(self, live: Live) -> None:
        """It has begun."""
        self._live[live.id] = live
        for name in live.names:
            self._named[live.principal.tenant, name] = live

    def remove(self, live: Live) -> None:
        """It is over."""
        del self._live[live.id]
        for name in live.names:
            del self._named[live.principal.tenant, name]

    def find(self, tenant: str, name: str) -> Live | None:
        """The tenant's conversation with that name, a session's or a call's."""
        return self._named.get((tenant, name))
