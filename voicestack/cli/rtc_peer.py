"""How does a program speak WebRTC and see every audio packet at the instant at which it arrives?

A peer connection of aiortc (ICE, DTLS, SRTP, SCTP) whose media engine is left out: aiortc would hold what it
receives for 80 to 280 ms and encode what it sends in threads. Here audio is Opus packets as they are, in both
directions. A *sealed* peer does not even decrypt what it receives: sequence number, time and length of an
SRTP packet can be read from outside, and a load generator needs no more.
"""

import asyncio
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import RtpPacket

from voicestack.aio.clock import Clock
from voicestack.cli.rtc_sdp import in_every_section, opus_payload_type

CHANNEL = "oai-events"
RTP_RATE_HZ = 48_000
"""Of Opus over RTP, whatever is inside (RFC 7587, section 4.1)."""
PACKET_SAMPLES = RTP_RATE_HZ // 50
_HEADER = struct.Struct("!BBHII")
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Heard:
    """One RTP packet that arrived. `payload` is still encrypted when the peer is sealed."""

    sequence: int
    timestamp: int
    marker: bool
    payload: bytes
    arrived_ns: int


class RtcPeer:
    """One end of a call.

    Args:
        clock: Stamps arrivals.
        on_packet: Is told every audio packet, in the order of arrival.
        on_text: Is told every message of the data channel.
        on_closed: Is told once that the connection is over, or never came about.
        loopback: The other end is on this machine: use 127.0.0.1 and nothing else.
        sealed: Leave what arrives encrypted.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        on_packet: Callable[[Heard], None],
        on_text: Callable[[str], None] = lambda _text: None,
        on_closed: Callable[[], None] = lambda: None,
        loopback: bool = True,
        sealed: bool = False,
    ) -> None:
        self._clock = clock
        self._on_packet = on_packet
        self._on_text = on_text
        self._on_closed = on_closed
        self._loopback = loopback
        self._sealed = sealed
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._pc.on("connectionstatechange", self._changed)
        self._pc.on("datachannel", self._adopt)
        self._channel: RTCDataChannel | None = None
        self._opened = asyncio.Event()
        self.closed = False
        self._receiving = StreamStatistics(RTP_RATE_HZ)
        self._transceiver: RTCRtpTransceiver | None = None
        self._payload_type = 0
        self._sequence, self._timestamp = random.randrange(1 << 15), random.randrange(1 << 32)
        self._talking = False
        self.n_sent = 0

    async def offer(self) -> str:
        """Describe this end, with the addresses at which it listens."""
        self._prepare(self._pc.addTransceiver("audio", direction="sendrecv"))
        self._adopt(self._pc.createDataChannel(CHANNEL))
        await self._pc.setLocalDescription(await self._pc.createOffer())
        return self._pc.localDescription.sdp

    async def accept(self, answer: str) -> None:
        """Take the other end's answer and begin to connect.

        Raises:
            BadSdp: it does not take Opus.
            ValueError: it is not an answer to the offer.
        """
        self._payload_type = opus_payload_type(answer)
        await self._pc.setRemoteDescription(RTCSessionDescription(in_every_section(answer), "answer"))

    async def answer(self, offer: str) -> str:
        """Answer somebody else's offer and begin to connect.

        Raises:
            BadSdp: it does not offer Opus.
            ValueError: it is not an offer.
        """
        self._payload_type = opus_payload_type(offer)
        await self._pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for transceiver in self._pc.getTransceivers():
            transceiver.direction = "sendrecv"
            self._prepare(transceiver)
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        return self._pc.localDescription.sdp

    async def opened(self) -> bool:
        """Wait for the data channel. Returns False when the connection failed before."""
        await self._opened.wait()
        return not self.closed

    def _prepare(self, transceiver: RTCRtpTransceiver) -> None:
        """Take the media engine out."""
        self._transceiver = transceiver
        if self._loopback:
            gather_at(transceiver, LOOPBACK)
        connection: Any = transceiver.sender.transport.transport._connection
        sender: Any = transceiver.sender
        sender.send = _nothing
        receiver: Any = transceiver.receiver
        if self._sealed:
            receiver.receive = _nothing
            self._past, connection.data_received = connection.data_received, self._sealed_data
        else:
            receiver._handle_rtp_packet = self._packet

    async def _packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        at_ns = self._clock.now_ns()
        receiver: Any = self._transceiver and self._transceiver.receiver
        streams = receiver._RTCRtpReceiver__remote_streams  # what its receiver reports are made of
        streams.setdefault(packet.ssrc, self._receiving).add(packet)
        self._on_packet(
            Heard(packet.sequence_number, packet.timestamp, bool(packet.marker), packet.payload, at_ns)
        )

    def _sealed_data(self, data: bytes, component: int) -> None:
        second = data[1] & 0x7F if len(data) > _HEADER.size else 0
        if second != self._payload_type or not 127 < data[0] < 192:  # RFC 5764, section 5.1.2
            self._past(data, component)
            return
        _, second, sequence, timestamp, _ = _HEADER.unpack_from(data)
        self._on_packet(Heard(sequence, timestamp, second > 127, data, self._clock.now_ns()))

    def send_packet(self, payload: bytes) -> None:
        """Send 20 ms of Opus. A packet that cannot be sent any more is dropped, as the network does."""
        if self._transceiver is None:
            return
        dtls: Any = self._transceiver.sender.transport
        pair = dtls.transport._connection._nominated.get(1)
        if dtls.state != "connected" or pair is None:
            return
        head = self._payload_type | (0 if self._talking else 0x80)
        packet = _HEADER.pack(0x80, head, self._sequence, self._timestamp, self._transceiver.sender._ssrc)
        pair.protocol.transport.sendto(dtls._tx_srtp.protect(packet + payload), pair.remote_addr)
        self.n_sent += 1
        self._talking = True
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + PACKET_SAMPLES) & 0xFFFFFFFF

    def rest(self, n_samples: int) -> None:
        """Send nothing for so many samples at RTP_RATE_HZ."""
        self._timestamp = (self._timestamp + n_samples) & 0xFFFFFFFF
        self._talking = False

    def send_text(self, text: str) -> None:
        """Send one message over the data channel.

        Raises:
            ConnectionError: it is not open.
        """
        if self._channel is None or self._channel.readyState != "open":
            raise ConnectionError("the data channel is closed")
        self._channel.send(text)

    async def close(self) -> None:
        """Hang up."""
        await self._pc.close()
        self._end()

    def _adopt(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", lambda data: self._on_text(data if isinstance(data, str) else data.decode()))
        channel.on("close", self._end)
        channel.on("open", self._opened.set)
        if channel.readyState == "open":
            self._opened.set()

    def _changed(self) -> None:
        if self._pc.connectionState in ("failed", "closed"):
            self._end()

    def _end(self) -> None:
        if not self.closed:
            self.closed = True
            self._opened.set()
            self._on_closed()


def gather_at(transceiver: RTCRtpTransceiver, address: str) -> None:
    """Listen at this address and at no other, before candidates are gathered.

    aiortc leaves 127.0.0.1 out; a machine without a network has nothing else.
    """
    connection: Any = transceiver.sender.transport.transport._connection
    gather = connection.get_component_candidates

    async def there(component: int, addresses: list[str], **options: Any) -> Any:
        return await gather(component, [address], **options)

    connection.get_component_candidates = there


async def _nothing(_parameters: object) -> None:
    """What aiortc's media engine does here."""
