"""The process in which eSpeak NG speaks: phrases in, frames with the words that end in them out.

Run as `python -m voicestack.engines.espeak_worker`. It is a process of its own because eSpeak NG is GPL-3.0,
is not re-entrant, and blocks. It serves phrases in the order in which they came.
"""

import ctypes
import json
import struct
from array import array
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from voicestack.engines.pipe import Frame, Kind, Stdio

N_CHARS = struct.Struct("<H")
"""Head of an answer: how many characters of the phrase have been said. int16 samples follow."""
RATE_HZ = 22_050
"""What eSpeak NG synthesises at with its own (formant) voices."""
FRAME_SAMPLES = RATE_HZ // 50
LOUD = 184
"""-45 dBFS: below it a listener calls it silence."""
LEAD_SAMPLES = RATE_HZ // 200
"""5 ms are kept before the first loud sample, so that no consonant starts with a click."""
GAPS_MS = dict.fromkeys(".?!\N{HORIZONTAL ELLIPSIS}", 120) | dict.fromkeys(",;:-\N{EN DASH}\N{EM DASH}", 80)
"""Silence after a phrase, by what it ends with."""
PLAIN_GAP_MS = 30
"""A phrase that was cut off in mid-clause is followed closely by the rest."""
DEFAULT_VOICE = "en-us"
MIN_RATE_WPM, MAX_RATE_WPM = 80, 450
"""espeakRATE_MINIMUM and espeakRATE_MAXIMUM of speak_lib.h."""

Samples: TypeAlias = "array[int]"
"""int16, at RATE_HZ."""

# speak_lib.h
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_BUFFER_MS = 60  # the shortest that it accepts
_CHARS_UTF8 = 1  # and neither espeakSSML nor espeakPHONEMES: the text is said as it is written
_WPM_PARAMETER = 1
_EVENT_LIST_TERMINATED, _EVENT_WORD, _EVENT_END = 0, 1, 5
_CONTINUE, _ABORT = 0, 1


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True, slots=True)
class Boundary:
    """Before this sample the first `n_chars` characters of the text are said, and nothing after them."""

    sample: int
    n_chars: int


class Cutter:
    """Cuts one phrase's audio into frames, and finds the frame in which every word's sound ends.

    Silence before the phrase is dropped; silence after it is cut to a gap that fits the punctuation. A frame
    is let go as soon as something loud comes after it: until then a word may still end in it.

    Args:
        text: The phrase.
        emit: Takes a frame: its samples, and how many characters of the phrase have been said at its end.
    """

    def __init__(self, text: str, emit: Callable[[Samples, int], None]) -> None:
        self._text = text
        self._emit = emit
        self._audio: Samples = array("h")  # from sample `_start` on
        self._start = 0
        self._n_samples = 0
        self._loud_end: int | None = None  # just after the last loud sample
        self._words: deque[Boundary] = deque()  # ends of words that have not been emitted
        self._n_chars_said = 0

    def push(self, audio: Samples, boundaries: list[Boundary]) -> None:
        """Take what comes next, with the boundaries that lie in it."""
        at = 0
        for boundary in boundaries:
            split = min(max(boundary.sample - self._n_samples, 0), len(audio) - at)
            self._hear(audio[at : at + split])
            at += split
            self._place(boundary.n_chars)
        self._hear(audio[at:])
        if self._loud_end is not None:
            self._let_go(self._loud_end - 1)

    def end(self) -> None:
        """The phrase is complete: emit the rest."""
        n_chars = len(self._text)
        if self._loud_end is None:
            self._emit(array("h"), n_chars)
            return
        self._words.append(Boundary(self._loud_end, n_chars))
        gap_ms = GAPS_MS.get(self._text.rstrip()[-1:], PLAIN_GAP_MS)
        n_left = self._loud_end + gap_ms * RATE_HZ // 1000 - self._start
        del self._audio[n_left:]
        self._audio.extend([0] * (n_left - len(self._audio)))
        self._let_go(self._start + n_left)
        if self._audio:
            self._emit(self._audio, n_chars)

    def _hear(self, audio: Samples) -> None:
        self._audio.extend(audio)
        self._n_samples += len(audio)
        if not audio or (max(audio) < LOUD and min(audio) > -LOUD):
            return
        if self._loud_end is None:
            first = next(i for i, value in enumerate(self._audio) if abs(value) >= LOUD)
            self._start = max(0, first - LEAD_SAMPLES)
            del self._audio[: self._start]
        n_quiet = next(i for i, value in enumerate(reversed(audio)) if abs(value) >= LOUD)
        self._loud_end = self._n_samples - n_quiet

    def _place(self, n_chars: int) -> None:
        """What the first `n_chars` characters say has ended, where it was loud the last time."""
        before = self._text[:n_chars]
        if self._loud_end is not None and before[-1:].isspace():  # "3.14" is four words to eSpeak NG
            self._words.append(Boundary(self._loud_end, len(before.rstrip())))

    def _let_go(self, end: int) -> None:
        """Emit the frames that end at or before sample `end`."""
        n_out = 0
        while self._start + FRAME_SAMPLES <= end:
            self._start += FRAME_SAMPLES
            while self._words and self._words[0].sample <= self._start:
                self._n_chars_said = max(self._n_chars_said, self._words.popleft().n_chars)
            self._emit(self._audio[n_out : n_out + FRAME_SAMPLES], self._n_chars_said)
            n_out += FRAME_SAMPLES
        del self._audio[:n_out]


class Voice:
    """eSpeak NG, loaded.

    Raises:
        OSError: the library or its data cannot be used.
    """

    def __init__(self) -> None:
        import espeakng_loader  # type: ignore[import-untyped]

        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        data_path = espeakng_loader.get_data_path().encode()
        rate_hz = self._lib.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MS, data_path, 0)
        if rate_hz != RATE_HZ:
            raise OSError(f"eSpeak NG speaks at {rate_hz} Hz; {RATE_HZ} was expected")
        self._lib.espeak_Synth.argtypes = (
            ctypes.c_char_p,
            ctypes.c_size_t,
            *(ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
            *(ctypes.c_void_p, ctypes.c_void_p),
        )
        self._callback = _SynthCallback(self._on_audio)
        self._lib.espeak_SetSynthCallback(self._callback)
        self._name = ""
        self._hear: Callable[[Samples, list[Boundary]], bool] = lambda _audio, _boundaries: False

    def say(
        self, text: str, name: str, rate_wpm: int, hear: Callable[[Samples, list[Boundary]], bool]
    ) -> None:
        """Synthesise `text`. `hear` takes the audio and returns whether to go on."""
        if name != self._name and self._lib.espeak_SetVoiceByName(name.encode()) != 0:
            self._lib.espeak_SetVoiceByName(DEFAULT_VOICE.encode())
        self._name = name
        self._lib.espeak_SetParameter(_WPM_PARAMETER, max(MIN_RATE_WPM, min(MAX_RATE_WPM, rate_wpm)), 0)
        self._hear = hear
        utf8 = text.encode() + b"\0"
        self._lib.espeak_Synth(utf8, len(utf8), 0, 0, 0, _CHARS_UTF8, None, None)

    def _on_audio(self, samples: Any, n_samples: int, events: Any) -> int:
        boundaries = []
        n_events = 0
        while (event := events[n_events]).type != _EVENT_LIST_TERMINATED:
            if event.type in (_EVENT_WORD, _EVENT_END):
                boundaries.append(Boundary(event.sample, max(0, event.text_position - 1)))
            n_events += 1
        audio = array("h", ctypes.string_at(samples, 2 * n_samples) if n_samples else b"")
        return _CONTINUE if self._hear(audio, boundaries) else _ABORT


class Desk:
    """The phrases that wait, and the one that is being said."""

    def __init__(self, stdio: Stdio, voice: Voice) -> None:
        self._stdio = stdio
        self._voice = voice
        self._waiting: dict[int, bytes] = {}
        self._speaking: int | None = None

    def serve(self) -> None:
        """Say what is asked for, in order, until the server closes the pipe."""
        while not self._stdio.closed:
            self._look(wait=not self._waiting)
            if self._waiting:
                stream = next(iter(self._waiting))
                self._speak(stream, self._waiting.pop(stream))

    def _look(self, *, wait: bool) -> None:
        """Take new phrases, and forget the cancelled ones."""
        for frame in self._stdio.receive(wait=wait):
            if frame.kind is Kind.OPEN:
                self._waiting[frame.stream] = frame.payload
            elif frame.kind is Kind.CANCEL:
                self._waiting.pop(frame.stream, None)
                if frame.stream == self._speaking:
                    self._speaking = None

    def _speak(self, stream: int, payload: bytes) -> None:
        wish = json.loads(payload)
        self._speaking = stream
        cutter = Cutter(wish["text"], lambda audio, n_chars: self._answer(stream, audio, n_chars))

        def hear(audio: Samples, boundaries: list[Boundary]) -> bool:
            cutter.push(audio, boundaries)
            self._look(wait=False)
            return self._speaking == stream and not self._stdio.closed

        self._voice.say(wish["text"], wish["voice"], wish["rate_wpm"], hear)
        if self._speaking == stream:
            cutter.end()
            self._stdio.send(Frame(Kind.END, stream))
        self._speaking = None

    def _answer(self, stream: int, audio: Samples, n_chars: int) -> None:
        self._stdio.send(Frame(Kind.ITEM, stream, N_CHARS.pack(n_chars) + audio.tobytes()))


def main() -> None:
    """Serve until stdin ends."""
    stdio = Stdio()
    with suppress(BrokenPipeError):
        voice = Voice()
        stdio.send(Frame(Kind.READY, 0))
        Desk(stdio, voice).serve()


if __name__ == "__main__":
    main()
