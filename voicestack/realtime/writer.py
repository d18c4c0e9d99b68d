"""What does a server frame look like: an event object with an id of its own, as JSON?"""

from collections.abc import Callable
from typing import Any

import orjson
from pybase64 import b64encode

_PREFIX_CHARS = 20  # leaves 11 digits of an id's 32 characters for the number


class Writer:
    """Encodes the server events of one session.

    Args:
        new_id: Makes a name that nothing else has, from its first part. Called once: the events of a session
            are numbered, as a name for each of 50 audio frames a second would cost more than the frame.
    """

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self._prefix = new_id("event")[:_PREFIX_CHARS]
        self._n_events = 0

    def event(self, kind: str, **fields: Any) -> bytes:
        """One frame."""
        return orjson.dumps({"type": kind, "event_id": self._next_id(), **fields})

    def audio_event(self, head: bytes, data: bytes) -> bytes:
        """One frame with audio. `head` is from `audio_head`; it is the part that does not change."""
        return b"".join((head, self._next_id().encode(), b'","delta":"', b64encode(data), b'"}'))

    def _next_id(self) -> str:
        self._n_events += 1
        return f"{self._prefix}_{self._n_events}"


def audio_head(kind: str, **fields: Any) -> bytes:
    """The beginning of a frame with audio, up to the event's id."""
    return orjson.dumps({"type": kind, **fields})[:-1] + b',"event_id":"'
