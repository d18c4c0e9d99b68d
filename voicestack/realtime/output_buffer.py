"""Which reply is played, where it is the server that plays, and what is the client told of that?"""

from voicestack.core.ids import TurnId
from voicestack.realtime.responses import Response
from voicestack.realtime.writer import Writer


class OutputBuffer:
    """The loudspeaker of one call. It plays one reply at a time; the conversation's goes before any other.

    A reply beside the conversation that finds it taken, or has to give way, is not played: its words are
    told all the same.

    Args:
        writer: Encodes the frames.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._playing: tuple[TurnId, Response] | None = None
        self._mute: set[TurnId] = set()

    @property
    def playing(self) -> TurnId | None:
        """The reply that is being played."""
        return self._playing[0] if self._playing else None

    @property
    def is_aside(self) -> bool:
        """Whether that is one beside the conversation."""
        return self._playing is not None and self._playing[1].aside

    def start(self, turn: TurnId, response: Response) -> list[bytes]:
        """A reply has sound. The frames that say that it is played from now on, if it is."""
        if turn == self.playing or turn in self._mute:
            return []
        if self._playing is not None and response.aside:
            self._mute.add(turn)
            return []
        frames = self.clear()
        self._playing = turn, response
        return [*frames, self._told("started", response)]

    def clear(self) -> list[bytes]:
        """Nothing is played any more."""
        if self._playing is None:
            return []
        (turn, response), self._playing = self._playing, None
        self._mute.add(turn)
        return [self._told("cleared", response)]

    def end(self, turn: TurnId, *, cancelled: bool) -> list[bytes]:
        """The reply is over."""
        frames = []
        if self._playing is not None and turn == self._playing[0]:
            frames = [self._told("cleared" if cancelled else "stopped", self._playing[1])]
            self._playing = None
        self._mute.discard(turn)
        return frames

    def _told(self, what: str, response: Response) -> bytes:
        return self._writer.event(f"output_audio_buffer.{what}", response_id=response.id)
