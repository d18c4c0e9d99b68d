"""What do the bytes of RTP and RTCP say? Pure; RFC 3550, and RFC 8285's extensions are skipped."""

from dataclasses import dataclass
from struct import Struct, error

RTP_HEADER = Struct("!BBHII")
RTP_HEADER_BYTES = RTP_HEADER.size
MARKER = 0x80

_RTCP_HEADER = Struct("!BBH")
_SENDER_INFO = Struct("!IIIII")
_REPORT = Struct("!IIIIII")

RTCP_SENDER_REPORT = 200
RTCP_RECEIVER_REPORT = 201
RTCP_SOURCE_DESCRIPTION = 202
RTCP_BYE = 203


@dataclass(frozen=True, slots=True)
class RtpHead:
    """The head of an RTP packet, and what it carries. `timestamp` counts the codec's RTP clock."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def is_rtcp(packet: bytes) -> bool:
    """Tell RTCP from RTP where both come on one port (RFC 5761, section 4)."""
    return len(packet) >= 2 and 192 <= packet[1] <= 223


def read_rtp(packet: bytes) -> RtpHead | None:
    """Take an RTP packet apart. None if it is not one."""
    if len(packet) < RTP_HEADER_BYTES:
        return None
    first, second, sequence, timestamp, ssrc = RTP_HEADER.unpack_from(packet)
    if first >> 6 != 2:
        return None
    start, end = RTP_HEADER_BYTES + 4 * (first & 0x0F), len(packet)
    if first & 0x10:
        if start + 4 > end:
            return None
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4])
    if first & 0x20:
        end -= packet[-1]
    if start > end:
        return None
    return RtpHead(second & 0x7F, bool(second & MARKER), sequence, timestamp, ssrc, packet[start:end])


def write_rtp(head: RtpHead) -> bytes:
    """The bytes of an RTP packet without extensions."""
    second = head.payload_type | (MARKER if head.marker else 0)
    return RTP_HEADER.pack(0x80, second, head.sequence, head.timestamp, head.ssrc) + head.payload


@dataclass(frozen=True, slots=True)
class ReceptionReport:
    """How one stream arrives, as its receiver tells its sender.

    Attributes:
        ssrc: The stream.
        p_lost: Share lost since the last report, 0..1.
        n_lost: Lost since the beginning.
        highest: Extended highest sequence number.
        jitter: In units of the RTP clock.
        last_report: The middle 32 bits of the last sender report's NTP time; 0 for none yet.
        held: For how long it has had that, in units of 1/65536 s.
    """

    ssrc: int
    p_lost: float
    n_lost: int
    highest: int
    jitter: int
    last_report: int
    held: int


@dataclass(frozen=True, slots=True)
class SenderInfo:
    """The clock of a stream's sender. `ntp` is NTP's 64 bits (32.32 seconds since 1900)."""

    ssrc: int
    ntp: int
    timestamp: int
    n_packets: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Reports:
    """What a compound RTCP packet says; anything but reports is skipped."""

    senders: tuple[SenderInfo, ...] = ()
    receptions: tuple[ReceptionReport, ...] = ()


def read_reports(packet: bytes) -> Reports:
    """The reports in a compound RTCP packet, as far as it can be understood."""
    senders: list[SenderInfo] = []
    receptions: list[ReceptionReport] = []
    at = 0
    try:
        while at + 4 <= len(packet):
            first, kind, n_words = _RTCP_HEADER.unpack_from(packet, at)
            body, at = packet[at + 4 : at + 4 + 4 * n_words], at + 4 + 4 * n_words
            start = 4
            if kind == RTCP_SENDER_REPORT:
                high, low, timestamp, n_packets, n_bytes = _SENDER_INFO.unpack_from(body, start)
                ssrc = int.from_bytes(body[:4])
                senders.append(SenderInfo(ssrc, high << 32 | low, timestamp, n_packets, n_bytes))
                start += _SENDER_INFO.size
            elif kind != RTCP_RECEIVER_REPORT:
                continue
            for place in range(first & 0x1F):
                receptions.append(_read_reception(body, start + place * _REPORT.size))
    except error:  # cut short
        pass
    return Reports(tuple(senders), tuple(receptions))


def _read_reception(body: bytes, at: int) -> ReceptionReport:
    ssrc, loss, highest, jitter, last_report, held = _REPORT.unpack_from(body, at)
    n_lost = loss & 0xFFFFFF
    if n_lost & 0x800000:  # 24 bits, signed
        n_lost -= 1 << 24
    return ReceptionReport(ssrc, (loss >> 24) / 256, n_lost, highest, jitter, last_report, held)


def write_reports(
    ssrc: int, cname: str, sender: SenderInfo | None, receptions: tuple[ReceptionReport, ...]
) -> bytes:
    """A compound packet: a sender report if something was sent, else a receiver report, and the CNAME."""
    body = ssrc.to_bytes(4)
    if sender is not None:
        ntp = sender.ntp
        body += _SENDER_INFO.pack(
            ntp >> 32 & 0xFFFFFFFF, ntp & 0xFFFFFFFF, sender.timestamp, sender.n_packets, sender.n_bytes
        )
    for report in receptions:
        lost = min(255, round(report.p_lost * 256)) << 24
        lost |= max(-(1 << 23), min((1 << 23) - 1, report.n_lost)) & 0xFFFFFF
        body += _REPORT.pack(
            report.ssrc, lost, report.highest, report.jitter, report.last_report, report.held
        )
    kind = RTCP_RECEIVER_REPORT if sender is None else RTCP_SENDER_REPORT
    return _rtcp(len(receptions), kind, body) + _source_description(ssrc, cname)


def write_goodbye(ssrc: int) -> bytes:
    """The stream ends: an empty receiver report and a BYE."""
    source = ssrc.to_bytes(4)
    return _rtcp(0, RTCP_RECEIVER_REPORT, source) + _rtcp(1, RTCP_BYE, source)


def _source_description(ssrc: int, cname: str) -> bytes:
    item = cname.encode("ascii")
    chunk = ssrc.to_bytes(4) + bytes((1, len(item))) + item
    return _rtcp(1, RTCP_SOURCE_DESCRIPTION, chunk + bytes(4 - len(chunk) % 4))


def _rtcp(n_items: int, kind: int, body: bytes) -> bytes:
    return _RTCP_HEADER.pack(0x80 | n_items, kind, len(body) // 4) + body
