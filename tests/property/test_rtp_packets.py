"""Do RTP, RTCP and DTLS bytes survive the way there and back, and is rubbish harmless?"""

from hypothesis import given
from hypothesis import strategies as st

from voicestack.transports.rtc_dtls import DATAGRAM_BYTES, datagrams
from voicestack.transports.rtp_packets import (
    ReceptionReport,
    RtpHead,
    SenderInfo,
    is_rtcp,
    read_reports,
    read_rtp,
    write_goodbye,
    write_reports,
    write_rtp,
)

u32 = st.integers(0, 2**32 - 1)
heads = st.builds(
    RtpHead,
    payload_type=st.integers(0, 63) | st.integers(96, 127),
    marker=st.booleans(),
    sequence=st.integers(0, 2**16 - 1),
    timestamp=u32,
    ssrc=u32,
    payload=st.binary(max_size=1200),
)
receptions = st.builds(
    ReceptionReport,
    ssrc=u32,
    p_lost=st.integers(0, 255).map(lambda part: part / 256),
    n_lost=st.integers(-(2**23), 2**23 - 1),
    highest=u32,
    jitter=u32,
    last_report=u32,
    held=u32,
)
senders = st.builds(
    SenderInfo, ssrc=u32, ntp=st.integers(0, 2**64 - 1), timestamp=u32, n_packets=u32, n_bytes=u32
)


@given(heads)
def test_rtp_there_and_back(head: RtpHead) -> None:
    packet = write_rtp(head)
    assert read_rtp(packet) == head
    assert not is_rtcp(packet)


@given(heads, st.integers(0, 15), st.binary(max_size=40), st.integers(0, 50))
def test_what_surrounds_the_payload_is_skipped(
    head: RtpHead, n_sources: int, extension: bytes, padding_bytes: int
) -> None:
    plain = write_rtp(head)
    words = extension + bytes(-len(extension) % 4)
    first = 0x80 | 0x10 | n_sources | (0x20 if padding_bytes else 0)
    tail = bytes(padding_bytes - 1) + bytes([padding_bytes]) if padding_bytes else b""
    packet = (
        bytes([first])
        + plain[1:12]
        + bytes(4 * n_sources)
        + b"\xbe\xde"
        + (len(words) // 4).to_bytes(2)
        + words
        + head.payload
        + tail
    )
    assert read_rtp(packet) == head


@given(st.lists(receptions, max_size=3).map(tuple), st.none() | senders, u32)
def test_reports_there_and_back(
    received: tuple[ReceptionReport, ...], sender: SenderInfo | None, ssrc: int
) -> None:
    if sender is not None:
        ssrc = sender.ssrc
    packet = write_reports(ssrc, "somebody", sender, received) + write_goodbye(ssrc)
    assert is_rtcp(packet)
    assert len(packet) % 4 == 0
    reports = read_reports(packet)
    assert reports.receptions == received
    assert reports.senders == (() if sender is None else (sender,))


@given(st.binary(max_size=200))
def test_rubbish_is_harmless(data: bytes) -> None:
    read_rtp(data)
    read_rtp(b"\x90" + data)
    read_rtp(b"\xb0" + data)
    read_reports(data)
    read_reports(b"\x81\xc8\x00\x20" + data)
    is_rtcp(data)


@given(st.lists(st.integers(0, 1400), max_size=12))
def test_records_are_not_cut(lengths: list[int]) -> None:
    records = [b"\x16\xfe\xfd" + bytes(8) + length.to_bytes(2) + bytes(length) for length in lengths]
    cut = list(datagrams(b"".join(records)))
    assert b"".join(cut) == b"".join(records)
    starts = {sum(map(len, records[:n])) for n in range(len(records) + 1)}
    at = 0
    for datagram in cut:
        assert at in starts
        at += len(datagram)
        assert len(datagram) <= DATAGRAM_BYTES or datagram in records
