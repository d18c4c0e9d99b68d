"""Who else takes part in a call: connections that hear its events, not its audio, and ask for things."""

from collections.abc import Callable, Sequence

from websockets.frames import CloseCode

from voicestack.core.commands import Command
from voicestack.core.errors import PeerProtocolError
from voicestack.core.notes import Problem
from voicestack.realtime.protocol import InputAudio, RealtimeProtocol
from voicestack.transports.ws_peer import WebSocketPeer, ignore_message

AUDIO_FRAME = b'{"type":"response.output_audio.delta"'


class Sidebands:
    """The further connections of one call, whatever the call itself is carried by.

    Args:
        protocol: The call's.
    """

    def __init__(self, protocol: RealtimeProtocol) -> None:
        self._protocol = protocol
        self._peers: list[WebSocketPeer] = []
        self._asking: WebSocketPeer | None = None  # the one whose event is being dealt with
        self._sink: Callable[[Command], None] | None = None

    def open(self, on_received: Callable[[Command], None]) -> None:
        """From now on what they ask for is done."""
        self._sink = on_received

    def join(self, peer: WebSocketPeer) -> None:
        """One more. Audio is what the call itself carries: theirs is refused."""
        self._peers.append(peer)
        peer.on_message = lambda message: self._on_message(peer, message)
        peer.on_closed = lambda code: self._peers.remove(peer)
        peer.send(self._protocol.opening())

    def hear(self, frames: Sequence[bytes]) -> None:
        """Let them have what the call is told."""
        if self._peers:
            heard = [frame for frame in frames if not frame.startswith(AUDIO_FRAME)]
            for peer in list(self._peers):
                peer.send(heard)

    def blame(self, frames: list[bytes]) -> bool:
        """Let the one have a refusal who asked for what was refused. False when it was none of them."""
        if self._asking is not None:
            self._asking.send(frames)
        return self._asking is not None

    def close(self) -> None:
        """The call is over."""
        for peer in list(self._peers):
            peer.on_message = ignore_message
            peer.close(CloseCode.NORMAL_CLOSURE, "The call is over.")

    def _on_message(self, peer: WebSocketPeer, message: str | bytes) -> None:
        received = self._protocol.receive(message)
        peer.send(list(received.answers))
        self._asking = peer
        try:
            for command in received.commands:
                if isinstance(command, InputAudio):
                    refusal = PeerProtocolError(
                        "A call's audio comes from the call.", code="invalid_value", param="type"
                    )
                    peer.send(self._protocol.tell(Problem(refusal)))
                elif self._sink is not None:
                    self._sink(command)
        finally:
            self._asking = None
