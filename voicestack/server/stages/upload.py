"""What was uploaded? The fields of a transcription request and its sound, as blocks at EAR_RATE_HZ."""

import mmap
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from voicestack.core.audio import EAR_RATE_HZ, Pcm
from voicestack.core.errors import PeerProtocolError
from voicestack.core.resample import Resampler
from voicestack.core.wav import WavSound, find_sound, is_wav
from voicestack.server.stages.codec import decoded, has_codecs
from voicestack.server.stages.endpoint import limited, uploading
from voicestack.server.stages.wire import TranscriptionWish, wish_of

MAX_FIELDS = 64
MULTIPART_BYTES = 65_536
"""What fields and boundaries may add to the file."""
BLOCK_S = 0.1

PLAIN_RATES_HZ = frozenset(
    (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000)
)
"""Rates that are resampled here. The matrices of an odd rate would take hundreds of megabytes."""

_LISTS = frozenset({"timestamp_granularities", "include", "known_speaker_names"})
"""Fields that come several times, with or without `[]` after the name."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A sound to be written down, and how."""

    wish: TranscriptionWish
    file: BinaryIO


@asynccontextmanager
async def uploaded(request: Request, *, max_file_bytes: int) -> AsyncIterator[Upload]:
    """Read the request; the file is gone after the `with`.

    Raises:
        PeerProtocolError: it is not as it should be, too large, or not here in time.
        ClientDisconnect: the client hung up.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        message = "The body must be multipart/form-data with the sound in its part 'file'."
        raise PeerProtocolError(message, code="unsupported_media_type")
    body = limited(request, max_file_bytes + MULTIPART_BYTES)
    async with uploading():
        try:
            form = await MultiPartParser(request.headers, body, max_files=1, max_fields=MAX_FIELDS).parse()
        except MultiPartException as error:
            message = f"The form cannot be read: {error.message}"
            raise PeerProtocolError(message, code="invalid_value") from None
    try:
        wish = wish_of(TranscriptionWish, _fields(form))
        part = form.get("file")
        if not isinstance(part, UploadFile):
            message = "The sound is missing: send it as the part 'file', with a file name."
            raise PeerProtocolError(message, code="missing_required_parameter", param="file")
        if (part.size or 0) > max_file_bytes:
            message = f"The file is larger than the server takes: {max_file_bytes} bytes at most."
            raise PeerProtocolError(message, code="file_too_large", param="file")
        part.file.rollover()  # type: ignore[attr-defined]  # a child process cannot read memory
        yield Upload(wish, part.file)
    finally:
        await form.close()


async def sound_of(file: BinaryIO, *, max_audio_s: int) -> AsyncGenerator[Pcm, None]:
    """The sound of a file, in blocks of about BLOCK_S at EAR_RATE_HZ.

    Raises:
        PeerProtocolError: it cannot be read (`invalid_audio`, `unsupported_media_type`), or it is too long
            (`audio_too_long`, for compressed files when so much has been yielded).
    """
    file.seek(0)
    if is_wav(file.read(12)):
        file.flush()
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        sound = find_sound(content)
        if sound.n_samples > max_audio_s * sound.rate_hz:
            raise _too_long(max_audio_s)
        if sound.rate_hz in PLAIN_RATES_HZ or not has_codecs():
            for block in _resampled(content, sound):
                yield block
            return
    n_samples = 0
    async for block in decoded(file):
        n_samples += len(block)
        if n_samples > max_audio_s * EAR_RATE_HZ:
            raise _too_long(max_audio_s)
        yield block


def _resampled(content: memoryview, sound: WavSound) -> Iterator[Pcm]:
    if sound.rate_hz not in PLAIN_RATES_HZ:
        message = f"WAV files at {sound.rate_hz} Hz cannot be read; 16000 Hz is what the recogniser wants."
        raise PeerProtocolError(message, code="invalid_audio", param="file")
    resampler = Resampler(sound.rate_hz, EAR_RATE_HZ)
    step = int(sound.rate_hz * BLOCK_S) * sound.frame_bytes
    n_early = resampler.delay_samples  # silence from before the sound
    for at in range(sound.start_bytes, sound.end_bytes, step):
        block = resampler.push(sound.mono(content[at : min(at + step, sound.end_bytes)]))
        yield block[n_early:]
        n_early = max(0, n_early - len(block))
    yield resampler.flush()[n_early:]


def _fields(form: FormData) -> dict[str, object]:
    """The form's texts by name; names with `[]` are lists."""
    fields: dict[str, object] = {}
    for key, value in form.multi_items():
        name = key.removesuffix("[]")
        if not isinstance(value, str) or value == "":
            continue
        if name in _LISTS:
            fields[name] = [*_listed(fields.get(name)), value]
        else:
            fields[name] = value
    return fields


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _too_long(max_audio_s: int) -> PeerProtocolError:
    message = f"The sound is longer than the server takes: {max_audio_s} s at most. Send it in parts."
    return PeerProtocolError(message, code="audio_too_long", param="file")
