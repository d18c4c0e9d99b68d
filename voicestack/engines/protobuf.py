"""What is in a protobuf message? Enough of the format to look into ONNX files without the `onnx` package."""

from collections.abc import Iterator


def messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The messages (or texts) in field number `wanted`, in order. Raises as `fields` does."""
    for field, value in fields(message):
        if field == wanted and isinstance(value, memoryview):
            yield value


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field number and value of everything in a protobuf message, in order.

    Raises:
        ValueError, IndexError: it is no protobuf message.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        match key & 7:
            case 0:
                value, at = _varint(message, at)
                yield key >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(message, at)
            case 5:
                size = 4
            case kind:
                raise ValueError(f"wire type {kind}")
        yield key >> 3, message[at : at + size]
        at += size


def with_length(field: int, payload: bytes) -> bytes:
    """A field that holds a message or a text, as it is written."""
    return _packed(field << 3 | 2) + _packed(len(payload)) + payload


def _packed(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
