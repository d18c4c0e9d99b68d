"""Can a stranger harm a call by sending to its port? Whatever comes is dropped or answered, and not heard."""

import asyncio
from typing import Any

from aioice import Candidate, stun
from hypothesis import given
from hypothesis import strategies as st

from voicestack.aio.clock import LoopClock
from voicestack.transports.rtc_path import RtcPath, _Socket
from voicestack.transports.rtc_settings import RtcSettings

SETTINGS = RtcSettings(addresses=("127.0.0.1",))
STRANGER = ("192.0.2.66", 6666)


class Outbox:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendto(self, data: bytes, addr: Any) -> None:
        self.sent.append(data)


def a_check(path: RtcPath, left_out: str = "") -> bytes:
    """What the peer would send: with our password."""
    message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    message.attributes |= {
        "USERNAME": f"{path.local_username}:peer",
        "PRIORITY": 1,
        "ICE-CONTROLLING": 1,
        "USE-CANDIDATE": None,
    }
    message.attributes.pop(left_out, None)
    message.add_message_integrity(path.local_password.encode())
    return bytes(message)


async def receive(datagrams: list[bytes], left_out: str | None = None) -> tuple[list[bytes], list[bytes]]:
    """Send them to a port; what was answered, and what was heard."""
    heard: list[bytes] = []
    path = RtcPath(SETTINGS, LoopClock(), heard.append, lambda _: None)
    path.remote_username, path.remote_password = "peer", "p" * 22
    path._early_checks_done = True
    port, outbox = _Socket(path), Outbox()
    port.local_candidate = Candidate("1", 1, "udp", 1, "127.0.0.1", 5, "host")
    port.transport = outbox  # type: ignore[assignment]
    for datagram in datagrams:
        port.datagram_received(datagram, STRANGER)
    if left_out is not None:
        port.datagram_received(a_check(path, left_out), STRANGER)
    for pair in path._check_list:
        if pair.task is not None:
            pair.task.cancel()
    await asyncio.sleep(0)
    return outbox.sent, heard


HEADER = bytes.fromhex("00010000 2112a442") + bytes(12)
attributes = st.tuples(st.integers(0, 0x8030), st.binary(max_size=12)).map(
    lambda pair: pair[0].to_bytes(2) + len(pair[1]).to_bytes(2) + pair[1] + bytes(-len(pair[1]) % 4)
)
messages = st.lists(attributes, max_size=5).map(
    lambda parts: HEADER[:2] + len(b"".join(parts)).to_bytes(2) + HEADER[4:] + b"".join(parts)
)


@given(st.lists(messages | st.binary(max_size=40).map(lambda tail: b"\x00" + tail), max_size=4))
def test_stun_that_makes_no_sense(datagrams: list[bytes]) -> None:
    _, heard = asyncio.run(receive(datagrams))
    assert heard == []


@given(st.binary(min_size=1, max_size=200).filter(lambda data: data[0] > 3))
def test_strangers_are_not_heard(datagram: bytes) -> None:
    assert asyncio.run(receive([datagram])) == ([], [])


def test_who_knows_our_password_is_answered_and_may_forget_things() -> None:
    for left_out in ("", "PRIORITY", "ICE-CONTROLLING", "USE-CANDIDATE"):
        answered, _ = asyncio.run(receive([], left_out))
        assert len(answered) >= 1


def test_who_knows_our_password_is_heard_from_then_on() -> None:
    async def run() -> list[bytes]:
        heard: list[bytes] = []
        path = RtcPath(SETTINGS, LoopClock(), heard.append, lambda _: None)
        path.remote_username, path.remote_password = "peer", "p" * 22
        path._early_checks_done = True
        port = _Socket(path)
        port.local_candidate = Candidate("1", 1, "udp", 1, "127.0.0.1", 5, "host")
        port.transport = Outbox()  # type: ignore[assignment]
        port.datagram_received(b"\x80before", STRANGER)
        port.datagram_received(a_check(path), STRANGER)
        port.datagram_received(b"\x80after", STRANGER)
        for pair in path._check_list:
            if pair.task is not None:
                pair.task.cancel()
        await asyncio.sleep(0)
        return heard

    assert asyncio.run(run()) == [b"\x80after"]
