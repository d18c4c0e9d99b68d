"""Which bytes are audio on this wire?"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pybase64 import b64decode, b64encode

from voicestack.core.audio import EAR_RATE_HZ, Pcm, Sound
from voicestack.core.errors import PeerProtocolError
from voicestack.core.g711 import decode_a_law, decode_mu_law, encode_a_law, encode_mu_law
from voicestack.core.resample import resample
from voicestack.realtime.checks import JsonObject, choice, record, refuse

MAX_AUDIO_BYTES = 15 * 1024 * 1024
"""The API's limit on the audio of one append."""


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


def audio_data(encoded: Any, path: str, form: AudioFormat) -> bytes:
    """The audio in a base64 string.

    Raises:
        PeerProtocolError: it is not that, too long, or ends in the middle of a sample.
    """
    if not isinstance(encoded, str):
        refuse(path, "a string with base64", encoded)
    if len(encoded) * 3 // 4 > MAX_AUDIO_BYTES + 2:  # the padding counts here and is no audio
        raise PeerProtocolError(
            f"Invalid '{path}': at most {MAX_AUDIO_BYTES} bytes of audio can be sent at once.",
            code="string_above_max_length",
            param=path,
        )
    try:
        data = b64decode(encoded, validate=True)
    except ValueError:
        raise PeerProtocolError(
            f"Invalid '{path}': not valid base64.", code="invalid_value", param=path
        ) from None
    if len(data) % form.sample_bytes:
        raise PeerProtocolError(
            f"Invalid '{path}': {len(data)} bytes are not a whole number of 16-bit samples.",
            code="invalid_value",
            param=path,
        )
    return data


def samples_of(data: bytes, form: AudioFormat) -> Pcm:
    """The samples in whole bytes of audio: int16 mono at the format's rate."""
    match form.kind:
        case "pcm":
            pcm: Pcm = np.frombuffer(data, dtype="<i2")
            return pcm
        case "pcmu":
            return decode_mu_law(np.frombuffer(data, dtype=np.uint8))
        case "pcma":
            return decode_a_law(np.frombuffer(data, dtype=np.uint8))


def encoded(sound: Sound, form: AudioFormat) -> str:
    """A whole recording as a client reads it: base64."""
    pcm = resample(sound.pcm, sound.rate_hz, form.rate_hz)
    match form.kind:
        case "pcm":
            return b64encode(pcm.astype("<i2").tobytes()).decode()
        case "pcmu":
            return b64encode(encode_mu_law(pcm).tobytes()).decode()
        case "pcma":
            return b64encode(encode_a_law(pcm).tobytes()).decode()


def to_ear(data: bytes, form: AudioFormat) -> Pcm:
    """A whole recording as a session hears it: int16 mono at EAR_RATE_HZ."""
    return resample(samples_of(data, form), form.rate_hz, EAR_RATE_HZ)
