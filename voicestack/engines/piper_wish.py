"""What do the server and its Piper workers say to each other? Values as JSON, without Piper."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from voicestack.engines.piper_files import VoiceFile

N_CHARS = struct.Struct("<H")
"""Head of an answer: how many characters of the phrase have been said. int16 samples follow."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How voices speak.

    Attributes:
        threads: Cores that one phrase may use.
        use_cuda: Run the networks on a GPU.
        length_scale: How long everything lasts; None for the voice's own figure, and so for the others.
        noise_scale: How much the sound varies.
        noise_w_scale: How much the lengths vary.
    """

    threads: int = 1
    use_cuda: bool = False
    length_scale: float | None = None
    noise_scale: float | None = None
    noise_w_scale: float | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker is started with.

    Attributes:
        voices: What it loads.
        rate_hz: The rate that it answers at.
        manner: How they speak.
        lexicon: A lexicon file, or "".
        speakers: Who speaks most, by the place of the voice; the others' own choice is taken.
    """

    voices: Sequence[VoiceFile]
    rate_hz: int
    manner: Manner
    lexicon: str = ""
    speakers: Mapping[int, int] = field(default_factory=dict)

    def text(self) -> str:
        """For a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> "Settings":
        """What `text` made."""
        found: dict[str, Any] = json.loads(text)
        voices = [VoiceFile(**voice) for voice in found["voices"]]
        speakers = {int(voice): speaker for voice, speaker in found["speakers"].items()}
        return cls(voices, found["rate_hz"], Manner(**found["manner"]), found["lexicon"], speakers)


@dataclass(frozen=True, slots=True)
class Wish:
    """One phrase to say: by which voice of the settings, and which of its speakers."""

    text: str
    voice: int
    speaker: int | None
    speed: float

    def payload(self) -> bytes:
        """For the pipe."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def read(cls, payload: bytes) -> "Wish":
        """What `payload` made."""
        return cls(**json.loads(payload))
