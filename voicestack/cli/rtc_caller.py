"""How does a caller of the benches, or of `voicestack talk`, call over WebRTC?

The microphone is Opus, 20 ms a packet, sent when the last sample of the packet has been spoken, and never
switched off; the events travel over the data channel. What arrives is decoded on arrival, without the playout
buffer that a browser has, so that the waveform shows the server's delays and the network's and no others.
"""

import ssl
from asyncio import timeout
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode, urlsplit, urlunsplit

import httpx
import numpy as np

from voicestack.aio.clock import Clock, SystemClock
from voicestack.aio.prefetch import Channel
from voicestack.cli.dialing import KEY_VARIABLE, NoServer
from voicestack.cli.rtc_ear import Arrival, Ear
from voicestack.cli.rtc_peer import Heard, RtcPeer
from voicestack.cli.rtc_sdp import Address, BadSdp, first_udp_candidate, through, without_candidates
from voicestack.cli.speaker import CALL_RATE_HZ, FRAME_SAMPLES, Speaker
from voicestack.core.audio import NO_AUDIO, Pcm
from voicestack.transports.opus import OpusDecoder, OpusEncoder

CALLS = "/v1/realtime/calls"
_OPEN_TIMEOUT_S = 15
_MAX_UNREAD = 10_000
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

Place = Callable[[Address], Awaitable[Address]]
"""Given where the server listens, where the caller shall send instead: puts a relay there."""


def calls_url(url: str, *, model: str = "voicestack") -> str:
    """The address at which calls begin, from a server's address as the user wrote it."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    query = urlencode({"model": model, "voicestack_events": "1"})
    return urlunsplit((scheme, parts.netloc, CALLS, query, ""))


class RtcCall:
    """An open call, to be used as a `MediaLink`.

    Args:
        clock: Stamps arrivals.
        loopback: The server is on this machine.
    """

    def __init__(self, clock: Clock, *, loopback: bool) -> None:
        self._messages: Channel[str] = Channel(_MAX_UNREAD, name="data channel")
        self.peer = RtcPeer(
            clock,
            on_packet=self._hear,
            on_text=self._messages.put,
            on_closed=self._messages.close,
            loopback=loopback,
        )
        self._encoder = OpusEncoder(CALL_RATE_HZ)
        self._unsent: Pcm = NO_AUDIO
        self._ear: Ear | None = None
        self._item: Callable[[], str] = str
        self.after_close: Callable[[], Awaitable[None]] = _nothing

    def attach(self, speaker: Speaker, item: Callable[[], str]) -> None:
        """From now on what arrives is played; `item` says to which item it belongs."""
        self._ear, self._item = Ear(OpusDecoder(CALL_RATE_HZ), speaker), item

    @property
    def arrivals(self) -> list[Arrival]:
        """Every audio packet so far."""
        return self._ear.arrivals if self._ear else []

    def speak(self, pcm: Pcm) -> None:
        """Send what was just spoken, int16 mono at CALL_RATE_HZ; less than a packet waits for more."""
        rest = np.concatenate([self._unsent, pcm]) if len(self._unsent) else pcm
        while len(rest) >= FRAME_SAMPLES:
            self.peer.send_packet(self._encoder.encode(rest[:FRAME_SAMPLES]))
            rest = rest[FRAME_SAMPLES:]
        self._unsent = rest

    async def send(self, message: str) -> None:
        """Send one event.

        Raises:
            NoServer: the server hung up.
        """
        try:
            self.peer.send_text(message)
        except ConnectionError as gone:
            raise NoServer(f"The server hung up: {gone}.") from gone

    async def recv(self) -> str | bytes:
        """The next event.

        Raises:
            NoServer: the server hung up.
        """
        try:
            return await anext(self._messages)
        except StopAsyncIteration:
            raise NoServer("The server hung up.") from None

    async def close(self) -> None:
        """Hang up."""
        await self.peer.close()
        await self.after_close()

    def _hear(self, packet: Heard) -> None:
        if self._ear is not None:
            self._ear.hear(packet, self._item())


async def _nothing() -> None:
    """Nothing is left to be done."""


async def dial_rtc(
    url: str,
    *,
    key: str | None = None,
    insecure: bool = False,
    clock: Clock | None = None,
    place: Place | None = None,
) -> RtcCall:
    """Begin a call.

    Args:
        url: The server, as the user wrote it.
        key: An API key; None for a server that asks for none.
        insecure: Take any certificate for the server's.
        clock: Stamps arrivals.
        place: Puts a relay in between; None for the direct way.

    Raises:
        NoServer: with one line that says what to do.
    """
    address = calls_url(url)
    call = RtcCall(clock or SystemClock(), loopback=urlsplit(address).hostname in _LOOPBACK)
    try:
        offer = without_candidates(await call.peer.offer())
        answer = await post_offer(address, offer, key=key, insecure=insecure)
        if place is not None:
            answer = through(answer, await place(first_udp_candidate(answer)))
        await call.peer.accept(answer)
        await _open(call, url)
    except (BadSdp, ValueError) as wrong:
        await call.close()
        raise NoServer(f"The server at {url} answers something else than a call: {wrong}.") from wrong
    except NoServer:
        await call.close()
        raise
    return call


async def _open(call: RtcCall, url: str) -> None:
    try:
        async with timeout(_OPEN_TIMEOUT_S):
            connected = await call.peer.opened()
    except TimeoutError:
        connected = False
    if not connected:
        raise NoServer(f"No connection over UDP to {url}: the call was accepted, but no packet came through.")


def _short(address: str) -> str:
    return address.partition("/v1/")[0]


async def post_offer(address: str, offer: str, *, key: str | None = None, insecure: bool = False) -> str:
    """Exchange an offer for an answer.

    Raises:
        NoServer: there is no server, or it refuses.
    """
    headers = {"Content-Type": "application/sdp"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    try:
        async with httpx.AsyncClient(verify=not insecure, trust_env=False) as http:
            answer = await http.post(address, content=offer, headers=headers, timeout=_OPEN_TIMEOUT_S)
    except httpx.ConnectError as nobody:
        if isinstance(nobody.__cause__, ssl.SSLCertVerificationError):
            raise NoServer(
                f"The certificate of {_short(address)} is not trusted. Try --insecure."
            ) from nobody
        raise NoServer(
            f"No voicestack server answers at {_short(address)}. Start one with: voicestack serve"
        ) from nobody
    except httpx.HTTPError as failed:
        raise NoServer(f"The call to {_short(address)} failed: {failed}") from failed
    if answer.status_code != 201:
        hint = f" It wants an API key: put one into the environment as {KEY_VARIABLE}."
        raise NoServer(
            f"The server at {_short(address)} refuses the call: HTTP {answer.status_code}."
            + (hint if answer.status_code == 401 else f" {answer.text[:200]}")
        )
    return answer.text
