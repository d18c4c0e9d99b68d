"""What does a call need of a peer connection? The shape of `RtcLink`, without the packages that it needs."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from voicestack.core.audio import Pcm

if TYPE_CHECKING:
    from voicestack.transports.rtc_settings import LinkFigures

PLAY_RATE_HZ = 24_000
"""What a link plays. Opus takes it as it is."""


class Link(Protocol):
    """One peer connection (`RtcLink`). It calls back from the event loop, never from within a call to it."""

    on_open: Callable[[], None]
    on_message: Callable[[str | bytes], None]
    on_audio: Callable[[Pcm, int], None]
    on_closed: Callable[[str], None]
    on_sent: Callable[[int], None]

    @property
    def client(self) -> str:
        """The peer's address, for logs; empty before there is one."""
        ...

    @property
    def figures(self) -> "LinkFigures":
        """What happened on it so far."""
        ...

    async def answer(self, offer: str) -> str:
        """The SDP answer. Raises PeerProtocolError: the offer cannot be used."""
        ...

    async def restart(self, offer: str) -> str:
        """The SDP answer to an ICE restart. Raises PeerProtocolError: the offer cannot be used."""
        ...

    def send(self, frames: Sequence[bytes]) -> None:
        """Send events. Never waits."""
        ...

    def play(self, pcm: Pcm) -> None:
        """Play this next: int16 mono at PLAY_RATE_HZ, due now."""
        ...

    def rest(self) -> None:
        """Nothing follows for now: what is less than a packet is padded and sent."""
        ...

    def flush(self) -> None:
        """Drop what has not left, at once."""
        ...

    def close(self, reason: str) -> None:
        """Hang up."""
        ...
