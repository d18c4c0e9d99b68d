"""Which bytes are audio on this wire?"""

from dataclasses import dataclass
from typing import Any, Literal

from voicestack.core.errors import PeerProtocolError
from voicestack.realtime.checks import JsonObject, choice, record, refuse


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How mono audio is written: signed 16-bit little-endian samples, or G.711 bytes.

    The Realtime API knows `pcm` at 24000 Hz and the two G.711 laws at 8000 Hz, nothing else.
    """

    kind: Literal["pcm", "pcmu", "pcma"]
    rate_hz: int

    @property
    def sample_bytes(self) -> int:
        """Bytes per sample."""
        return 2 if self.kind == "pcm" else 1


PCM_24K = AudioFormat("pcm", 24_000)
_FORMATS = {
    "audio/pcm": PCM_24K,
    "audio/pcmu": AudioFormat("pcmu", 8_000),
    "audio/pcma": AudioFormat("pcma", 8_000),
}
_BETA_NAMES = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}

_typed = record({"type": choice(*_FORMATS)}, required=("type",))


def audio_format(value: Any, path: str) -> JsonObject:
    """A `Check` for a format. The beta API's format names are taken too; the answer is always in GA form."""
    if isinstance(value, str) and value in _BETA_NAMES:
        return wire_format(_BETA_NAMES[value])
    name = _typed(value, path)["type"]
    rate = value.get("rate")
    if rate is not None and name == "audio/pcm" and (isinstance(rate, bool) or rate != PCM_24K.rate_hz):
        refuse(f"{path}.rate", str(PCM_24K.rate_hz), rate)
    return wire_format(name)


def wire_format(name: str) -> JsonObject:
    """The format of that name as the session object shows it."""
    return {"type": name, "rate": PCM_24K.rate_hz} if name == "audio/pcm" else {"type": name}


def format_of(wire: JsonObject) -> AudioFormat:
    """The value of a checked format."""
    return _FORMATS[wire["type"]]


def check_whole_samples(data: bytes, form: AudioFormat) -> None:
    """Raise PeerProtocolError when the bytes end in the middle of a sample."""
    if len(data) % form.sample_bytes:
        raise PeerProtocolError(
            f"Invalid 'audio': {len(data)} bytes are not a whole number of 16-bit samples.",
            code="invalid_value",
            param="audio",
        )
