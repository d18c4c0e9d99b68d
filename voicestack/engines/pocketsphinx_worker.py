"""The process in which PocketSphinx listens: one utterance at a time, sound in, words out.

Run as `python -m voicestack.engines.pocketsphinx_worker`. It holds one decoder, because PocketSphinx blocks
while it decodes (about 0.15 s for a second of sound) and a decoder has the state of one utterance.
"""

import math
import os
import warnings
from array import array
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from voicestack.engines.pipe import READ_BYTES, Frame, Kind, Stdio

RATE_HZ = 16_000
AUDIO, PAUSE = b"a", b"p"
"""First byte of what the server sends: int16 samples follow, or the user fell silent here."""
PARTIAL, SETTLED, FINAL = b"p", b"s", b"f"
"""First byte of an answer; the decoder's words follow as UTF-8."""
PARTS_END = "\n"
"""Between the words that stay as they are and those that may still change."""
STEP_BYTES = 2 * RATE_HZ // 10
"""Decoded at a time. 100 ms of sound is about 15 ms of work; then a cancellation is seen."""
NICENESS = 5
"""Where the cores do not suffice, sound is sent and received first."""

MAX_UNHEARD_BYTES = 2 * RATE_HZ * 2
"""Silence after a pause is not decoded until something follows it, or until there is so much of it."""

LONG_BYTES = 2 * RATE_HZ * 6
TOO_LONG_BYTES = 2 * RATE_HZ * 60
"""A search grows with its length, so a long utterance has parts: from 6 s on at a pause, at 60 s anyway.

The words of a part stay as they are, and can be told before the end: two thirds of them in 20 dictations of
five short questions each, with pauses of 0.3 s between them. Word errors are 9.4 % there with parts from 6 s
and 10.6 % with parts from 20 s on; with one more pause within every question, 23.7 % and 22.4 %.
"""

CONFIG: dict[str, Any] = {
    # The second pass (fwdflat) is as good as the language weight below, and adds 70 ms to the end.
    "fwdflat": False,
    # The lattice's best path is worth 5 points of word error rate, and adds 5 ms to the end.
    "bestpath": True,
    "lw": 6.0,
    "maxhmmpf": 3000,
    "loglevel": "FATAL",
    "samprate": float(RATE_HZ),
}


def level_dbfs(samples: Sequence[int]) -> float:
    """RMS level relative to full scale, at least -90 dB."""
    return 10 * math.log10(sum(value * value for value in samples) / max(1, len(samples)) / 32768**2 + 1e-9)


class Loudness:
    """How loud does this user speak? Found in the first 300 ms of speech, after whatever silence."""

    WINDOW_SAMPLES = RATE_HZ // 100
    N_LOUD_WINDOWS = 30
    MAX_WINDOWS = 150
    SPAN_DB = 25.0
    """Windows so far below the loudest one are silence between words, or before them."""
    FLOOR_DBFS = -70.0

    def __init__(self) -> None:
        self._dbfs: list[float] = []
        self._rest = array("h")

    def push(self, pcm: bytes) -> bool:
        """Take the next samples. Returns whether enough is known."""
        self._rest.frombytes(pcm)
        n_whole = len(self._rest) // self.WINDOW_SAMPLES
        for n in range(n_whole):
            window = self._rest[n * self.WINDOW_SAMPLES : (n + 1) * self.WINDOW_SAMPLES]
            self._dbfs.append(level_dbfs(window))
        del self._rest[: n_whole * self.WINDOW_SAMPLES]
        return len(self._dbfs) >= self.MAX_WINDOWS or len(self._loud()) >= self.N_LOUD_WINDOWS

    def speech_dbfs(self) -> float:
        """RMS level of the louder part of the speech: the 80th percentile of its windows."""
        loud = sorted(self._loud())
        return loud[len(loud) * 4 // 5] if loud else self.FLOOR_DBFS

    def _loud(self) -> list[float]:
        at_least = max(max(self._dbfs, default=0.0) - self.SPAN_DB, self.FLOOR_DBFS)
        return [value for value in self._dbfs if value >= at_least]


class Listener:
    """What has been understood of the utterance so far.

    PocketSphinx subtracts the cepstral mean that it expects (live CMN). A wrong expectation costs half of the
    words, and what it learnt from one user is wrong for the next. So every utterance starts from the same
    mean, except for its first coefficient, the loudness, which is measured.
    """

    CMN = (3.91, 15.49, 20.98, 2.54, 0.77, 3.70, -7.20, -5.48, -2.37, 7.40, 4.95, 6.10)
    """Coefficients 1 to 12, the mean over 72 questions of two voices, one female and one male."""
    C0_AT_FULL_SCALE = 73.3
    C0_PER_DB = 1.13
    """Coefficient 0 by `Loudness.speech_dbfs`, from the same questions at 0 to -30 dB."""

    def __init__(self, decoder: Any) -> None:
        self.decoder = decoder
        self._parts: list[str] = []
        self._in_utterance = False
        self._begin()

    def _begin(self) -> None:
        self._loudness: Loudness | None = Loudness()
        self._waiting = bytearray()  # until the loudness is known
        self._parts.clear()
        self._n_bytes = 0
        self._settled: tuple[str, str] | None = None  # the hypothesis at a pause, and what became of it
        self._speech_dbfs = Loudness.FLOOR_DBFS
        self._paused = False
        self._unheard = bytearray()  # the silence since the pause

    def hear(self, pcm: bytes) -> None:
        """Take the next samples."""
        if self._loudness is not None:
            self._waiting += pcm
            if self._loudness.push(pcm):
                self._tune_in()
        elif self._paused and self._is_silence(pcm) and len(self._unheard) < MAX_UNHEARD_BYTES:
            self._unheard += pcm
        else:
            self._decode(bytes(self._unheard) + pcm)
            self._unheard.clear()
            self._paused = False

    def words(self) -> str:
        """The best guess so far."""
        return self._all(self._hypothesis())

    def settle(self) -> str:
        """All that can be said about the words before this pause. The utterance may go on."""
        self._paused = True
        if self._n_bytes > LONG_BYTES:
            self._close_part()
            return self.words()
        if self._loudness is not None and self._waiting:
            self._tune_in()
        hypothesis = self._hypothesis()
        if self._settled is None or self._settled[0] != hypothesis:
            self._settled = hypothesis, (self._foretell() if hypothesis else "")
        return self._all(self._settled[1])

    def end(self) -> str:
        """The words of the utterance, which is over. `forget` must follow.

        When nothing was understood since the last pause, this is what was settled then: a draft of the
        answer may be based on it, and the decoder need not look again.
        """
        if self._loudness is not None and self._waiting:
            self._tune_in()
        if self._settled is None or self._settled[0] != self._hypothesis():
            self._close_part()
            return self.words()
        return self._all(self._settled[1])

    def forget(self) -> None:
        """Be ready for the next utterance."""
        self._stop()
        self._begin()

    def _all(self, newest: str) -> str:
        return " ".join(self._parts) + PARTS_END + newest

    def _is_silence(self, pcm: bytes) -> bool:
        return level_dbfs(array("h", pcm)) < self._speech_dbfs - Loudness.SPAN_DB

    def _tune_in(self) -> None:
        """Start to decode, with what has been waiting."""
        assert self._loudness is not None
        self._speech_dbfs = self._loudness.speech_dbfs()
        c0 = self.C0_AT_FULL_SCALE + self.C0_PER_DB * self._speech_dbfs
        self.decoder.set_cmn(",".join(f"{value:.2f}" for value in (c0, *self.CMN)))
        with warnings.catch_warnings():
            # It is called unnecessary, but without it the noise around one user stays with the next.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.decoder.start_stream()
        self._loudness = None
        self._decode(bytes(self._waiting))
        self._waiting.clear()

    def _decode(self, pcm: bytes) -> None:
        if self._n_bytes > TOO_LONG_BYTES:
            self._close_part()
        if not self._in_utterance:
            self.decoder.start_utt()
            self._in_utterance = True
        self._n_bytes += len(pcm)
        for start in range(0, len(pcm), STEP_BYTES):
            self.decoder.process_raw(pcm[start : start + STEP_BYTES], False, False)

    def _hypothesis(self) -> str:
        hypothesis = self.decoder.hyp() if self._in_utterance else None
        return hypothesis.hypstr if hypothesis else ""

    def _foretell(self) -> str:
        """What the decoder would say if the utterance ended here: a copy of this process ends it and tells.

        PocketSphinx finds the best path through its lattice only when the utterance ends, and an ended
        utterance cannot go on. The copy shares our memory until it writes to it (fork(2)).
        """
        hypothesis = self._hypothesis()
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            with suppress(BaseException):
                self.decoder.end_utt()
                os.write(writer, self.decoder.hyp().hypstr.encode()[:READ_BYTES])
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as told:
            ending = told.read()
        os.waitpid(pid, 0)
        return ending.decode() or hypothesis

    def _close_part(self) -> None:
        """Keep the words so far and begin a new search."""
        self._stop()
        hypothesis = self.decoder.hyp() if self._n_bytes else None
        if hypothesis:
            self._parts.append(hypothesis.hypstr)
        self._n_bytes, self._settled = 0, None

    def _stop(self) -> None:
        if self._in_utterance:
            self.decoder.end_utt()
            self._in_utterance = False


class Desk:
    """The utterance that is being heard, and what the server sent and has not been looked at."""

    def __init__(self, stdio: Stdio, listener: Listener) -> None:
        self._stdio = stdio
        self._listener = listener
        self._frames: deque[Frame] = deque()
        self._said = ""

    def serve(self) -> None:
        """Hear one utterance after the other until the server closes the pipe."""
        while True:
            self._look(wait=not self._frames)
            if self._stdio.closed:
                return
            self._take(self._frames.popleft())

    def _look(self, *, wait: bool) -> None:
        """Read on; what belongs to a cancelled utterance is dropped unheard."""
        for frame in self._stdio.receive(wait=wait):
            if frame.kind is Kind.CANCEL:
                self._frames = deque(other for other in self._frames if other.stream != frame.stream)
            self._frames.append(frame)

    def _take(self, frame: Frame) -> None:
        kind, stream = frame.kind, frame.stream
        if kind is Kind.OPEN or kind is Kind.CANCEL:
            self._said = ""
            self._listener.forget()
        elif kind is Kind.END:
            self._answer(stream, FINAL, self._listener.end())
            self._stdio.send(Frame(Kind.END, stream))
            self._listener.forget()
        elif frame.payload[:1] == PAUSE:
            # The search's own guess is there at once and right two times out of three; a draft can begin.
            guess = self._listener.words()
            self._answer(stream, SETTLED, guess)
            settled = self._listener.settle()
            if settled != guess:
                self._answer(stream, SETTLED, settled)
        else:
            self._listener.hear(frame.payload[1:])
            words = self._listener.words()
            if words != self._said:
                self._said = words
                self._answer(stream, PARTIAL, words)

    def _answer(self, stream: int, tag: bytes, words: str) -> None:
        self._stdio.send(Frame(Kind.ITEM, stream, tag + words.encode()))


def load(**changes: Any) -> Any:
    """A decoder with the US English model of the pocketsphinx wheel."""
    from pocketsphinx import Decoder, get_model_path  # type: ignore[import-untyped]

    model = os.path.join(get_model_path(), "en-us")
    return Decoder(
        hmm=os.path.join(model, "en-us"),
        lm=os.path.join(model, "en-us.lm.bin"),
        dict=os.path.join(model, "cmudict-en-us.dict"),
        **CONFIG | changes,
    )


def main() -> None:
    """Serve until stdin ends."""
    stdio = Stdio()
    os.nice(NICENESS)
    listener = Listener(load())
    with suppress(BrokenPipeError):
        stdio.send(Frame(Kind.READY, 0))
        Desk(stdio, listener).serve()


if __name__ == "__main__":
    main()
