"""What can be read from an Opus packet without decoding it? RFC 6716, sections 3 and 4.2."""

TICKS_HZ = 48_000
"""The RTP clock of Opus, whatever the rate of the audio (RFC 7587, section 4.1)."""
MAX_PACKET_TICKS = 120 * TICKS_HZ // 1000
"""No packet is longer (RFC 6716, section 3.4, [R5])."""

_SILK_TICKS = (480, 960, 1920, 2880)
_HYBRID_TICKS = (480, 960)
_CELT_TICKS = (120, 240, 480, 960)
_FIRST_HYBRID, _FIRST_CELT = 12, 16
_PART_TICKS = 960
"""A SILK frame codes at most 20 ms at a time, each with a voice activity flag of its own."""


def frame_ticks(packet: bytes) -> int:
    """Length of each of the packet's frames, 120 .. 2880 ticks of the RTP clock; 0 for an empty packet."""
    if not packet:
        return 0
    config = packet[0] >> 3
    if config < _FIRST_HYBRID:
        return _SILK_TICKS[config & 3]
    return _HYBRID_TICKS[config & 1] if config < _FIRST_CELT else _CELT_TICKS[config & 3]


def packet_ticks(packet: bytes) -> int:
    """Length of the packet, 120 .. 5760 ticks of the RTP clock; 0 for what cannot be Opus.

    It is read from the first two bytes, so the rest may still be rubbish.
    """
    n_frames = _n_frames(packet)
    n_ticks = n_frames * frame_ticks(packet)
    return n_ticks if n_ticks <= MAX_PACKET_TICKS else 0


def fec_ticks(packet: bytes) -> int:
    """How much of what came just before the packet it holds a second time; 0 for nothing.

    That is one frame's length, coded with fewer bits (in-band FEC, "LBRR", RFC 6716, section 4.2.4).
    """
    first = _first_frame(packet)
    if not first or packet[0] >> 3 >= _FIRST_CELT:
        return 0
    n_ticks = frame_ticks(packet)
    n_parts = max(1, n_ticks // _PART_TICKS)
    # A voice activity flag for each part, then the flag that is asked for; the same again for a second
    # channel. Each is one bit of even chance, and such bits stand in a range coder's first byte as they are.
    flags = 1 << (7 - n_parts)
    if packet[0] & 4:
        flags |= 1 << (6 - 2 * n_parts)
    return n_ticks if first[0] & flags else 0


def _n_frames(packet: bytes) -> int:
    if not packet:
        return 0
    code = packet[0] & 3
    if code < 3:
        return 1 if code == 0 else 2
    return packet[1] & 63 if len(packet) > 1 else 0


def _first_frame(packet: bytes) -> bytes:
    """The first frame's data; empty if it has none or the packet is damaged (RFC 6716, section 3.2)."""
    n_frames = _n_frames(packet)
    if not n_frames:
        return b""
    code, at, end = packet[0] & 3, 1, len(packet)
    is_sized = code == 2
    if code == 3:
        at, is_sized = 2, bool(packet[1] & 128) and n_frames > 1
        if packet[1] & 64:
            n_padding_bytes, at = _padding(packet, at)
            end -= n_padding_bytes
    if not is_sized:
        return packet[at : at + max(0, end - at) // n_frames]
    n_first_bytes, at = _size(packet, at)
    for _ in range(n_frames - 2):  # the last frame's size is what is left
        at = _size(packet, at)[1]
    return packet[at : min(end, at + n_first_bytes)]


def _padding(packet: bytes, at: int) -> tuple[int, int]:
    """How many bytes of padding the end has, and where their number ends. 255 means 254 and more."""
    n_bytes = 0
    while at < len(packet):
        more = packet[at]
        at += 1
        if more < 255:
            return n_bytes + more, at
        n_bytes += 254
    return n_bytes, at


def _size(packet: bytes, at: int) -> tuple[int, int]:
    """A frame's size in bytes, and where its one or two bytes end (RFC 6716, section 3.2.1)."""
    low = packet[at] if at < len(packet) else 0
    if low < 252:
        return low, at + 1
    high = packet[at + 1] if at + 1 < len(packet) else 0
    return low + 4 * high, at + 2
