"""One voice of Piper, loaded: a phrase in, its sound and where its words end out.

Piper is GPL-3.0 and blocks, so only the worker program imports this.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import (  # type: ignore[import-untyped]
    Fail,
    InvalidArgument,
    RuntimeException,
)
from piper import PiperVoice, SynthesisConfig
from piper.config import PiperConfig
from piper.const import BOS, EOS, PAD

from voicestack.core.audio import NO_AUDIO, Pcm
from voicestack.core.resample import Resampler
from voicestack.engines.alignment import LONG, MARKS, spliced, word_ends
from voicestack.engines.loudness import gain_for, limited
from voicestack.engines.piper_files import VoiceFile
from voicestack.engines.piper_wish import Manner
from voicestack.engines.protobuf import messages, with_length
from voicestack.engines.spoken.languages import language_of
from voicestack.engines.spoken.lexicon import Lexicon
from voicestack.engines.spoken.text import Span, open_ended, spans_of
from voicestack.engines.spoken_frames import LOUD, WordEnd, framed, gap_after

SAMPLE_TEXT = "1, 2, 3, 4, 5, 6."
"""What the loudness is measured on: eSpeak NG says it in every language."""
MIN_SPEED, MAX_SPEED = 0.25, 4.0
_MARKUP = re.compile(r"[^\w\s'.,;:?!-]")
"""What is not part of a written word or its punctuation; "[[" would be phonemes to Piper."""
_COMMA = 4.0
"""A comma lasts as long as about four phonemes; where the voice does not tell how long they were."""


class Stopped(Exception):
    """Somebody has called `Voice.stop` while it spoke."""


class Voice:
    """A loaded voice. `stop` may be called from another thread; nothing else may.

    Args:
        file: Where it is.
        manner: How it speaks.
        lexicon: Pronunciations.
        rate_hz: Rate of what it yields; its own rate is converted.

    Raises:
        OSError, ValueError, RuntimeError: the files are no Piper voice.
    """

    def __init__(self, file: VoiceFile, manner: Manner, lexicon: Lexicon, rate_hz: int) -> None:
        about = json.loads(Path(f"{file.path}.json").read_text("utf-8"))
        self._net = _Net(Path(file.path), manner)
        config = PiperConfig.from_dict(about)
        self._piper = PiperVoice(session=cast(Any, self._net), config=config)
        self._manner, self._own_rate_hz, self._rate_hz = manner, file.rate_hz, rate_hz
        self._language = language_of(file.language)
        self._lexicon = lexicon.rules(file.language)
        self._alone = lru_cache(4096)(self._phonemes_alone)
        self._gains: dict[int | None, float] = {}

    def warm_up(self, speaker: int | None = None) -> None:
        """Speak once, so that the first phrase is not slower than the others."""
        for _ in self.say("1 2 3 4", speaker=speaker, speed=1.0):  # and its loudness is measured
            pass

    def begin(self) -> None:
        """What was stopped before is over."""
        self._net.begin()

    def stop(self) -> None:
        """Break off what is being said, until `begin`; `say` raises `Stopped`."""
        self._net.stop()

    def say(self, text: str, *, speaker: int | None, speed: float) -> Iterator[tuple[Pcm, int]]:
        """Yield frames of 20 ms, each with how many characters of `text` have been said at its end.

        A sentence is made as a whole, because its melody is, and yielded before the next one is made.

        Raises:
            Stopped: it was stopped.
            RuntimeError: the network failed.
        """
        spans = [span for span in spans_of(text, self._language, self._lexicon) if span.said]
        n_said = 0
        for sentence, places in self._sentences(text, spans):
            pcm, ends = self._spoken(sentence, places, speaker, speed)
            gap_ms = gap_after(text[: places[-1].n_chars] if places else text)
            for frame, n_chars in framed(pcm, ends, self._rate_hz, gap_ms=gap_ms):
                n_said = max(n_said, n_chars)
                yield frame, n_said
        if n_said < len(text):
            yield NO_AUDIO, len(text)

    def _sentences(self, text: str, spans: Sequence[Span]) -> Iterator[tuple[list[str], list[WordEnd]]]:
        """The phonemes of each sentence, and after how many of them how much of the text is said."""
        if not spans:
            return
        given = {n: self._given(span.said) for n, span in enumerate(spans) if "[[" in span.said}
        # A word whose phonemes are given keeps its place in the sentence: its neighbours depend on it.
        words = [
            _MARKUP.sub("", text[span.start : span.end]).strip() if n in given else span.said
            for n, span in enumerate(spans)
        ]
        sentences = self._piper.phonemize(open_ended(" ".join(words)))
        flat = [phoneme for sentence in sentences for phoneme in sentence]
        ends = word_ends(flat, [self._alone(word) for word in words])
        cuts = list(accumulate(map(len, sentences)))
        flat, ends, cuts = spliced(flat, ends, cuts, given)
        n_chars = [*(span.start for span in spans[1:]), len(text)]
        first = n = 0
        for cut in cuts:
            places = []
            while n < len(ends) and ends[n] <= cut:
                places.append(WordEnd(ends[n] - first, n_chars[n]))
                n += 1
            sentence, first = flat[first:cut], cut
            if any(phoneme not in MARKS for phoneme in sentence):
                yield sentence, places

    def _spoken(
        self, sentence: list[str], places: Sequence[WordEnd], speaker: int | None, speed: float
    ) -> tuple[Pcm, list[WordEnd]]:
        """The sound of a sentence, and the samples at which its words end."""
        audio, samples = self._synthesised(sentence, speaker, speed)
        gain = self._gain(speaker)
        pcm = limited(audio * gain, self._own_rate_hz)
        if samples is None:
            samples = estimated(sentence, pcm)
        ratio = 1.0
        if self._rate_hz != self._own_rate_hz:
            resampler = Resampler(self._own_rate_hz, self._rate_hz)
            pcm = np.concatenate([resampler.push(pcm), resampler.flush()])
            ratio = self._rate_hz / self._own_rate_hz
        return pcm, [WordEnd(round(samples[one.sample] * ratio), one.n_chars) for one in places]

    def _synthesised(
        self, sentence: list[str], speaker: int | None, speed: float
    ) -> tuple[NDArray[np.float64], list[int] | None]:
        """Full scale +-1, and the sample at which each number of phonemes ends, if the voice tells."""
        manner = self._manner
        scale = (manner.length_scale or self._piper.config.length_scale) / min(
            max(speed, MIN_SPEED), MAX_SPEED
        )
        config = SynthesisConfig(speaker, scale, manner.noise_scale, manner.noise_w_scale)
        ids = self._piper.phonemes_to_ids(sentence)
        found = self._piper.phoneme_ids_to_audio(ids, config, include_alignments=True)
        audio, lengths = found if isinstance(found, tuple) else (found, None)
        sound = np.atleast_1d(audio).astype(np.float64)
        if lengths is None or np.size(lengths) != len(ids):
            return sound, None
        id_map = self._piper.config.phoneme_id_map
        pad = len(id_map[PAD])
        n_ids = [len(id_map[BOS]) + pad]
        for phoneme in sentence:
            n_ids.append(n_ids[-1] + (len(id_map[phoneme]) + pad if phoneme in id_map else 0))
        if n_ids[-1] + len(id_map[EOS]) != len(ids):  # a language with another way to number its phonemes
            return sound, None
        ends = np.concatenate([[0], np.cumsum(np.atleast_1d(lengths))])
        return sound, [int(ends[n]) for n in n_ids]

    def _gain(self, speaker: int | None) -> float:
        """What makes this speaker as loud as all others; measured when he speaks for the first time."""
        if speaker not in self._gains:
            parts = self._piper.phonemize(SAMPLE_TEXT)
            sound = np.concatenate([self._synthesised(part, speaker, 1.0)[0] for part in parts])
            self._gains[speaker] = gain_for(sound, self._own_rate_hz)
        return self._gains[speaker]

    def _given(self, said: str) -> list[str]:
        """The phonemes of a word of which a part is given in [[ ]]."""
        found: list[str] = []
        for part in re.split(r"(\[\[.*?\]\])", said.strip(".,;:?!")):
            if part.startswith("[["):
                found += unicodedata.normalize("NFD", part[2:-2].strip())
            else:
                found += self._alone(part) if part.strip() else ()
        return found

    def _phonemes_alone(self, said: str) -> tuple[str, ...]:
        return tuple(phoneme for sentence in self._piper.phonemize(said) for phoneme in sentence)


class _Net:
    """The network, which another thread can stop. PiperVoice takes it for an ONNX Runtime session."""

    def __init__(self, path: Path, manner: Manner) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = manner.threads
        options.add_session_config_entry(
            "session.intra_op.allow_spinning", "0"
        )  # the cores are not ours alone
        providers = ["CUDAExecutionProvider"] if manner.use_cuda else []
        providers += ["CPUExecutionProvider"]
        network = with_durations(path.read_bytes())
        self._session = onnxruntime.InferenceSession(network, options, providers=providers)
        self._options = onnxruntime.RunOptions()

    def begin(self) -> None:
        """What was stopped before is over."""
        self._options = onnxruntime.RunOptions()

    def stop(self) -> None:
        self._options.terminate = True

    def run(self, names: list[str] | None, feed: dict[str, Any]) -> list[Any]:
        """See `onnxruntime.InferenceSession.run`."""
        options = self._options
        try:
            found: list[Any] = self._session.run(names, feed, options)
        except (Fail, InvalidArgument, RuntimeException) as error:
            if options.terminate:
                raise Stopped from None
            raise RuntimeError(f"the voice's network failed: {error}") from error
        if options.terminate:
            raise Stopped
        return found


def with_durations(network: bytes) -> bytes:
    """The ONNX model, with the lengths of its phonemes as its second output.

    Piper's voices have them inside, as the result of their only Ceil node (`w_ceil` of VITS). Protobuf merges
    a message that comes twice, so that an output is added by appending to the file: ModelProto.graph = 7,
    GraphProto.node = 1 and output = 12, NodeProto.output = 2 and op_type = 4, ValueInfoProto.name = 1.

    A model that has a second output, or not exactly one such node, is returned as it is.

    Raises:
        ValueError, IndexError: it is no ONNX model.
    """
    n_outputs, found = 0, []
    for graph in messages(memoryview(network), 7):
        n_outputs += sum(1 for _ in messages(graph, 12))
        for node in messages(graph, 1):
            if [bytes(kind) for kind in messages(node, 4)] == [b"Ceil"]:
                found += [bytes(name) for name in messages(node, 2)]
    if n_outputs != 1 or len(found) != 1:
        return network
    return network + with_length(7, with_length(12, with_length(1, found[0])))


def estimated(sentence: Sequence[str], pcm: Pcm) -> list[int]:
    """Where each number of phonemes ends, if all take the same time: for voices that do not tell."""
    loud = np.flatnonzero(np.abs(pcm.astype(np.int32)) >= LOUD)
    first, end = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(pcm))
    sounding = max((n for n, phoneme in enumerate(sentence) if phoneme not in MARKS), default=-1)
    weights = [_weight(phoneme) if n <= sounding else 0.0 for n, phoneme in enumerate(sentence)]
    total = sum(weights) or 1.0
    return [first + round((end - first) * part / total) for part in accumulate(weights, initial=0.0)]


def _weight(phoneme: str) -> float:
    if phoneme in ",;:.?!":
        return _COMMA
    return 1.0 if phoneme == LONG or phoneme not in MARKS else 0.0
