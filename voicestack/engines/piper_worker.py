"""The process in which Piper speaks: phrases in, frames with the words that end in them out.

Run as `python -m voicestack.engines.piper_worker SETTINGS`, where SETTINGS is `Settings.text`. It is a
process of its own because Piper is GPL-3.0 and blocks. It serves phrases in the order in which they came, and
drops one that is cancelled at once, in the middle of the network if need be.
"""

import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from voicestack.engines.pipe import Frame, GarbledPipe, Kind, Stdio
from voicestack.engines.piper_voice import Stopped, Voice
from voicestack.engines.piper_wish import N_CHARS, Settings, Wish
from voicestack.engines.spoken.lexicon import EMPTY, read_lexicon


class Desk:
    """Serves one phrase after the other.

    A thread reads what is wanted, so that a cancellation is seen at once.
    """

    def __init__(self, stdio: Stdio, voices: Sequence[Voice]) -> None:
        self._stdio = stdio
        self._voices = voices
        self._change = threading.Condition()
        self._waiting: dict[int, bytes] = {}  # phrases by stream, oldest first
        self._speaking: int | None = None
        self._closed = False

    def serve(self) -> None:
        """Speak until the server closes the pipe."""
        threading.Thread(target=self._read, name="read", daemon=True).start()
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closed or self._waiting)
                if self._closed:
                    return
                stream = next(iter(self._waiting))
                wish = Wish.read(self._waiting.pop(stream))
                self._speaking = stream
                self._voices[wish.voice].begin()
            self._speak(stream, wish)
            with self._change:
                self._speaking = None

    def _speak(self, stream: int, wish: Wish) -> None:
        voice = self._voices[wish.voice]
        try:
            for pcm, n_chars in voice.say(wish.text, speaker=wish.speaker, speed=wish.speed):
                if self._speaking != stream:
                    return
                payload = N_CHARS.pack(n_chars) + pcm.astype("<i2", copy=False).tobytes()
                self._stdio.send(Frame(Kind.ITEM, stream, payload))
        except Stopped:
            return
        except (
            RuntimeError,
            ValueError,
        ) as error:  # of the network or of a phonemiser: this phrase fails alone
            self._stdio.send(Frame(Kind.ERROR, stream, str(error)[:400].encode()))
            return
        self._stdio.send(Frame(Kind.END, stream))

    def _read(self) -> None:
        """What the thread does: take new phrases, forget the cancelled ones."""
        with suppress(GarbledPipe):
            while not self._stdio.closed:
                for frame in self._stdio.receive(wait=True):
                    self._take(frame)
        with self._change:
            self._closed = True
            self._stop()
            self._change.notify()

    def _take(self, frame: Frame) -> None:
        with self._change:
            if frame.kind is Kind.OPEN:
                self._waiting[frame.stream] = frame.payload
                self._change.notify()
            elif frame.kind is Kind.CANCEL:
                self._waiting.pop(frame.stream, None)
                if frame.stream == self._speaking:
                    self._stop()

    def _stop(self) -> None:
        self._speaking = None
        for voice in self._voices:
            voice.stop()


def main(settings: Settings) -> None:
    """Load the voices, and serve until stdin ends."""
    stdio = Stdio()
    lexicon = read_lexicon(Path(settings.lexicon)) if settings.lexicon else EMPTY
    voices = [Voice(file, settings.manner, lexicon, settings.rate_hz) for file in settings.voices]
    for n, voice in enumerate(voices):
        voice.warm_up(settings.speakers.get(n))
    with suppress(BrokenPipeError):
        stdio.send(Frame(Kind.READY, 0))
        Desk(stdio, voices).serve()


if __name__ == "__main__":
    main(Settings.read(sys.argv[1]))
