"""Is what is written read again, and is what is no message refused?"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.engines.protobuf import fields, messages, with_length


@given(st.lists(st.tuples(st.integers(1, 2**28), st.binary(max_size=400)), max_size=6))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_again(parts: list[tuple[int, bytes]]) -> None:
    message = memoryview(b"".join(with_length(field, payload) for field, payload in parts))
    found = [(field, bytes(value)) for field, value in fields(message) if isinstance(value, memoryview)]
    assert found == parts
    for field, _ in parts:
        wanted = [payload for number, payload in parts if number == field]
        assert [bytes(one) for one in messages(message, field)] == wanted


def test_numbers_are_read_and_passed_over() -> None:
    message = memoryview(b"\x08\x96\x01" + b"\x15abcd" + b"\x19abcdefgh" + with_length(4, b"x"))
    assert [field for field, _ in fields(message)] == [1, 2, 3, 4]
    assert dict(fields(message))[1] == 150
    assert [bytes(one) for one in messages(message, 4)] == [b"x"]
    assert list(messages(message, 1)) == []


@pytest.mark.parametrize("data", [b"\x0b", b"\x08", b"\xff"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        list(fields(memoryview(data)))
