"""How do events go over a data channel? SCTP of aiortc on our own DTLS, and the one channel that counts."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

from aiortc import RTCDataChannel
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport

from voicestack.transports.rtc_answer import MAX_MESSAGE_BYTES
from voicestack.transports.rtc_dtls import Dtls

log = logging.getLogger(__name__)

LABEL = "oai-events"
"""What clients of the Realtime API call the channel."""


MAX_CHANNELS = 16
"""That a peer may open, one after the other. One is used."""
MAX_OUTSTANDING = 4096
"""Chunks on the way at a time, in either direction: of 1200 bytes, several times what may be unread."""


class EventChannel:
    """The peer's data channels. One is listened to; others may be opened and are ignored.

    Args:
        dtls: Below.
        max_unsent_bytes: What a peer may leave unread.
        max_peer_bytes: Longest message that the peer takes; 0 for any.

    Attributes:
        max_event_bytes: Longest event that can be sent; a longer one is dropped, since SDP forbids it.
        n_dropped: Events that were longer.
    """

    def __init__(self, dtls: Dtls, *, max_unsent_bytes: int, max_peer_bytes: int) -> None:
        self.on_open: Callable[[], None]
        self.on_message: Callable[[str | bytes], None]
        self.on_closed: Callable[[str], None]
        self.n_dropped = 0
        self._max_unsent_bytes = max_unsent_bytes
        self.max_event_bytes = min(max_peer_bytes, MAX_MESSAGE_BYTES) or MAX_MESSAGE_BYTES
        self._max_peer_bytes = max_peer_bytes
        self._floor = _Floor(dtls)
        self._sctp = RTCSctpTransport(cast(RTCDtlsTransport, self._floor))
        self._sctp.on("datachannel", self._on_channel)
        self._channel: RTCDataChannel | None = None
        self._n_channels = 0
        self._is_closed = False

    def start(self, peer_port: int) -> None:
        """The DTLS association stands: begin with SCTP."""
        _at_once(self._sctp.start(RTCSctpCapabilities(maxMessageSize=self._max_peer_bytes), peer_port))

    def receive(self, data: bytes) -> None:
        """Deal with an SCTP packet."""
        receiver = self._floor.receiver
        if receiver is None:
            return
        if _is_bomb(data):
            self._end("the peer broke SCTP (a SACK for more than was sent)")
            return
        try:
            _at_once(receiver(data))
        except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as problem:
            # aiortc trusts that packets make sense; what does not ends the call of whoever sent it.
            self._end(f"the peer broke SCTP ({type(problem).__name__})")
        # aiortc tells the peer how much it may send, and then keeps whatever comes.
        if self._sctp._advertised_rwnd < 0 or len(self._sctp._sack_misordered) > MAX_OUTSTANDING:
            self._end("the peer sent more than it was allowed to")
        if self._sctp.state == "closed":
            self._end("the peer ended the data connection")

    def send(self, frames: Sequence[bytes]) -> bool:
        """Send events as text, in order. False if the peer has left too many unread."""
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return True
        for frame in frames:
            if len(frame) > self.max_event_bytes:
                self.n_dropped += 1
                log.warning(
                    "an event of %d bytes was dropped: the peer takes %d", len(frame), self.max_event_bytes
                )
            else:
                channel.send(frame.decode())
        return channel.bufferedAmount <= self._max_unsent_bytes

    def close(self) -> None:
        """End the association (ABORT)."""
        self._is_closed = True
        _at_once(self._sctp.stop())

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self._n_channels += 1
        if self._n_channels > MAX_CHANNELS:
            self._end("the peer opened too many data channels")
        if channel.label != LABEL or self._channel is not None or self._is_closed:
            return
        self._channel = channel
        channel.on("message", self._on_message)
        channel.on("close", self._on_channel_closed)
        self.on_open()

    def _on_message(self, message: str | bytes) -> None:
        if not self._is_closed:
            if len(message) > MAX_MESSAGE_BYTES:
                self._end("the peer sent an event that is too long")
            else:
                self.on_message(message)

    def _on_channel_closed(self) -> None:
        self._end("the peer closed its data channel")

    def _end(self, reason: str) -> None:
        if not self._is_closed:
            self._is_closed = True
            self.on_closed(reason)


class _Floor:
    """What aiortc's SCTP needs below it, with the names that it calls.

    Sending never fails: timers send, too, and there would be nobody to catch it.
    """

    def __init__(self, dtls: Dtls) -> None:
        self._dtls = dtls
        self.receiver: Callable[[bytes], Coroutine[Any, Any, None]] | None = None

    @property
    def state(self) -> str:
        return "closed" if self._dtls.is_closed else "connected"

    @property
    def _role(self) -> str:
        return "client" if self._dtls.is_client else "server"

    def _register_data_receiver(self, receiver: RTCSctpTransport) -> None:
        self.receiver = receiver._handle_data

    def _unregister_data_receiver(self, receiver: RTCSctpTransport) -> None:
        self.receiver = None

    async def _send_data(self, data: bytes) -> None:
        self._dtls.send(data)


def _is_bomb(packet: bytes) -> bool:
    """Whether it acknowledges so much that aiortc, which counts it all out, would be busy for seconds.

    RFC 9260, section 3.3.4: type 3; after the chunk's head come cumulative TSN, window, and the number of
    gap blocks and of duplicates; then first and last of each block.
    """
    at = 12
    n_acknowledged = 0
    while at + 4 <= len(packet):
        kind, n_bytes = packet[at], int.from_bytes(packet[at + 2 : at + 4])
        if kind == 3:
            n_gaps = int.from_bytes(packet[at + 12 : at + 14])
            for gap in range(at + 16, min(at + 16 + 4 * n_gaps, len(packet) - 3), 4):
                first, last = int.from_bytes(packet[gap : gap + 2]), int.from_bytes(packet[gap + 2 : gap + 4])
                n_acknowledged += max(0, last - first + 1)
        at += max(4, n_bytes + -n_bytes % 4)
    return n_acknowledged > MAX_OUTSTANDING


def _at_once(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits, because nothing below it does, to its end now: no task, in order."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise asyncio.InvalidStateError("this was not expected to wait")
