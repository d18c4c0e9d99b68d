"""What do the server and its Whisper process say to each other? Sound goes in, its words come back.

A window is complete in itself, so that any process, here or elsewhere, can take any of them.
"""

import json
from dataclasses import asdict, dataclass, field
from enum import IntEnum

import numpy as np

from voicestack.core.audio import Pcm
from voicestack.core.heard import HeardWord


class Urgency(IntEnum):
    """Whose answer is waited for. The lower, the sooner."""

    FINAL = 0  # the turn waits for it
    SETTLED = 1  # a draft waits for it
    PARTIAL = 2  # captions


@dataclass(frozen=True, slots=True)
class Window:
    """Sound to be understood.

    Attributes:
        pcm: int16 mono at EAR_RATE_HZ, shape (n_samples,), at most 30 s.
        urgency: Who waits for it.
        within_ms: It need not be understood later than this after it was sent.
        context: What was said before it.
        language: As ISO 639-1; empty: whatever it sounds like.
        prompt: What its text may begin with; empty: what the process is set to.
    """

    pcm: Pcm = field(repr=False)
    urgency: Urgency
    within_ms: int
    context: str = field(default="", repr=False)
    language: str = ""
    prompt: str = field(default="", repr=False)

    def packed(self) -> bytes:
        """A line of JSON, then the samples, little-endian."""
        head = {
            "urgency": int(self.urgency),
            "within_ms": self.within_ms,
            "context": self.context,
            "language": self.language,
            "prompt": self.prompt,
        }
        return json.dumps(head).encode() + b"\n" + self.pcm.astype("<i2").tobytes()

    @classmethod
    def unpacked(cls, data: bytes) -> "Window":
        """Raises ValueError, KeyError: it is no window."""
        head, _, pcm = data.partition(b"\n")
        fields = json.loads(head)
        return cls(
            np.frombuffer(pcm, "<i2"),
            Urgency(fields["urgency"]),
            int(fields["within_ms"]),
            str(fields["context"]),
            str(fields["language"]),
            str(fields["prompt"]),
        )


@dataclass(frozen=True, slots=True)
class Understood:
    """What a window was understood as, and what that took.

    Attributes:
        words: In order; times are seconds from the beginning of the window.
        language: Its language, as ISO 639-1.
        p_language: How sure that is, 0..1; 1 when it was given.
        p_no_speech: Whisper's own opinion of whether nothing was said, 0..1.
        n_batch: Windows that were understood together with it, itself included.
        busy_ms: For how long the model was busy with all of them.
        waited_ms: For how long it waited for its turn.
    """

    words: tuple[HeardWord, ...] = field(repr=False)
    language: str
    p_language: float = 1.0
    p_no_speech: float = 0.0
    n_batch: int = 1
    busy_ms: float = 0.0
    waited_ms: float = 0.0

    def packed(self) -> bytes:
        """JSON."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()

    @classmethod
    def unpacked(cls, data: bytes) -> "Understood":
        """Raises ValueError, KeyError, TypeError: it is none."""
        fields = json.loads(data)
        words = tuple(HeardWord(**word) for word in fields.pop("words"))
        return cls(words=words, **fields)


LATE = b""
"""What the process answers to a window that waited too long; an answer with words is never empty."""
