"""What does a Whisper look like that is as large as a real one and has heard nothing, and how fast is it?

A CTranslate2 model of random numbers. It says other words every time, and the position at which it stops is
written into it: a decoder that never stops, or says one word for ever, takes as long as no real one does.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voicestack.aio.clock import Clock
from voicestack.cli.bench_gpu_tokenizer import made_up_words, write_words
from voicestack.cli.bench_stats import Summary, summarise

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPECIALS = {
    50_257: "<|endoftext|>",
    50_258: "<|startoftranscript|>",
    50_259: "<|en|>",
    50_359: "<|translate|>",
    50_360: "<|transcribe|>",
    50_361: "<|startoflm|>",
    50_362: "<|startofprev|>",
    50_363: "<|nospeech|>",
    50_364: "<|notimestamps|>",
}
"""Where large-v3 has them (openai/whisper `tokenizer.py`, 100 languages)."""
PROMPT = (50_258, 50_259, 50_360, 50_364)
FRAMES_PER_S = 100
"""Of a log-mel spectrogram with Whisper's hop of 10 ms."""
SAID_TOKENS = 20
"""After so many words it stops: what is said in 5 s."""
_SPREAD, _LOGIT_SPREAD = 0.02, 7.0
"""Of embeddings; of what is computed for each token: the likeliest is much likelier than the next one."""
_POOL = 1_048_583
"""Random numbers that everything is cut from; a prime, so that no row of a matrix comes twice."""
_CALM = 0.1
"""Of the weights of layers, times the spread: what a layer adds to its input stays small beside it."""
_STOP = 50.0
"""How strongly the position speaks for, or before it against, the end."""


@dataclass(frozen=True, slots=True)
class WhisperShape:
    """Dimensions from the `config.json` of the public model named by `like`."""

    like: str
    n_mels: int
    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    vocabulary: int = 51_866


WHISPERS = {
    "turbo": WhisperShape("large-v3-turbo", 128, 1280, 20, 32, 4),
    "tiny": WhisperShape("nothing, with large-v3's vocabulary", 128, 128, 2, 2, 2),
}


def write_whisper(folder: Path, shape: WhisperShape, *, seed: int = 1) -> None:
    """Write a CTranslate2 model in float16, with the configuration that faster-whisper reads beside it.

    Raises:
        OSError: it cannot be written.
    """
    from ctranslate2.specs import WhisperSpec  # type: ignore[import-untyped]

    spec = WhisperSpec(shape.encoder_layers, shape.heads, shape.decoder_layers, shape.heads)
    rng = np.random.default_rng(seed)
    pool = (rng.standard_normal(_POOL) * _SPREAD).astype(np.float16)
    _fill_encoder(spec.encoder, shape, (pool * _CALM).astype(np.float16))
    _fill_decoder(spec.decoder, shape, pool)
    config = spec.config
    config.suppress_ids, config.suppress_ids_begin = [], []
    config.lang_ids, config.alignment_heads = [PROMPT[1]], [[0, 0]]
    names = token_names(shape.vocabulary)
    spec.register_vocabulary(names)
    spec.validate()
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    settings = {"feature_size": shape.n_mels, "sampling_rate": 16_000, "hop_length": 160, "n_fft": 400}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    words = {name: n for n, name in enumerate(names)}
    write_words(folder / "tokenizer.json", words, list(SPECIALS.values()))


def token_names(size: int) -> list[str]:
    """Words, the special tokens where Whisper has them, and behind those the timestamps."""
    last = max(SPECIALS)
    words = made_up_words()
    return [
        SPECIALS.get(n) or (next(words) if n < last else f"<|{(n - last - 1) * 0.02:.2f}|>")
        for n in range(size)
    ]


def _random(shape: tuple[int, ...], pool: "NDArray[np.float16]") -> "NDArray[np.float16]":
    """Random numbers of that shape. The pool repeats: nobody looks at what they are."""
    return np.resize(pool, shape)


def _fill_encoder(encoder: Any, shape: WhisperShape, pool: "NDArray[np.float16]") -> None:
    width = shape.width
    encoder.num_heads = np.dtype("int16").type(shape.heads)
    encoder.conv1.weight = _random((width, shape.n_mels, 3), pool)
    encoder.conv1.bias = _random((width,), pool)
    encoder.conv2.weight = _random((width, width, 3), pool)
    encoder.conv2.bias = _random((width,), pool)
    encoder.position_encodings.encodings = _random((1500, width), pool)
    for layer in encoder.layer:
        _fill_attention(layer.self_attention, width, 3, pool)
        _fill_rest(layer, width, pool)
    _fill_norm(encoder.layer_norm, width)


def _fill_decoder(decoder: Any, shape: WhisperShape, pool: "NDArray[np.float16]") -> None:
    width = shape.width
    decoder.scale_embeddings = False
    decoder.embeddings.weight = _random((shape.vocabulary, width), pool)
    stop = np.resize(np.array([_SPREAD, -_SPREAD], np.float16), width)
    positions = _random((448, width), pool)
    positions[: len(PROMPT) + SAID_TOKENS - 1] -= stop
    positions[len(PROMPT) + SAID_TOKENS - 1 :] += stop
    decoder.position_encodings.encodings = positions
    scale = _LOGIT_SPREAD / _SPREAD / np.sqrt(width)
    projection = _random((shape.vocabulary, width), (pool[::-1] * scale).astype(np.float16))
    alike = projection @ stop / (stop @ stop)  # what the position says must not speak for a word
    projection -= np.outer(alike, stop)
    projection[min(SPECIALS)] = stop * np.float16(_STOP)
    decoder.projection.weight = projection
    calm = (pool * _CALM).astype(np.float16)
    for layer in decoder.layer:
        _fill_attention(layer.self_attention, width, 3, calm)
        _fill_attention(layer.attention, width, 2, calm)
        _fill_rest(layer, width, calm)
    _fill_norm(decoder.layer_norm, width)


def _fill_attention(attention: Any, width: int, n_fused: int, pool: "NDArray[np.float16]") -> None:
    """`n_fused` projections of the input are one matrix; across, the queries have one of their own."""
    sizes = (3, 1) if n_fused == 3 else (1, 2, 1)
    for linear, n in zip(attention.linear, sizes, strict=True):
        linear.weight, linear.bias = _random((n * width, width), pool), _random((n * width,), pool)
    _fill_norm(attention.layer_norm, width)


def _fill_rest(layer: Any, width: int, pool: "NDArray[np.float16]") -> None:
    for linear, (rows, columns) in (
        (layer.ffn.linear_0, (4 * width, width)),
        (layer.ffn.linear_1, (width, 4 * width)),
    ):
        linear.weight, linear.bias = _random((rows, columns), pool), _random((rows,), pool)
    _fill_norm(layer.ffn.layer_norm, width)


def _fill_norm(norm: Any, width: int) -> None:
    norm.gamma, norm.beta = np.ones(width, np.float16), np.zeros(width, np.float16)


class RandomWhisper:
    """A model that was written by `write_whisper`, loaded.

    Args:
        folder: Its folder.
        shape: What was written there.
        device: `cuda` or `cpu`.

    Raises:
        RuntimeError: CTranslate2 cannot use the device, e.g. for want of CUDA's libraries.
    """

    def __init__(self, folder: Path, shape: WhisperShape, *, device: str) -> None:
        import ctranslate2  # type: ignore[import-untyped]

        self._shape = shape
        self._model = ctranslate2.models.Whisper(
            str(folder), device=device, compute_type="float16" if device == "cuda" else "int8"
        )
        self._storage = ctranslate2.StorageView

    def decode(self, n_windows: int, window_s: float) -> int:
        """Decode a batch of windows greedily. Blocks. Returns the number of tokens."""
        n_frames = int(window_s * FRAMES_PER_S) // 2 * 2
        features = np.zeros((n_windows, self._shape.n_mels, n_frames), np.float32)
        found = self._model.generate(
            self._storage.from_array(features),
            [list(PROMPT)] * n_windows,
            beam_size=1,
            suppress_blank=False,
            suppress_tokens=[],
        )
        return sum(len(one.sequences_ids[0]) for one in found)


@dataclass(frozen=True, slots=True)
class Windows:
    """One size of batch."""

    batch: int
    window_s: float
    batch_ms: Summary | None
    windows_per_s: float
    tokens_per_window: float


def measure_windows(
    model: RandomWhisper, batches: Sequence[int], *, window_s: float, for_s: float, clock: Clock
) -> list[Windows]:
    """How many windows of that length are transcribed in a second, by size of batch. Blocks."""
    found = []
    for batch in batches:
        model.decode(batch, window_s)  # the first of a size allocates
        took_ms, n_tokens, start_ns = list[float](), 0, clock.now_ns()
        while not took_ms or clock.now_ns() - start_ns < for_s * 1e9:
            before_ns = clock.now_ns()
            n_tokens += model.decode(batch, window_s)
            took_ms.append((clock.now_ns() - before_ns) / 1e6)
        n_windows = batch * len(took_ms)
        found.append(
            Windows(batch, window_s, summarise(took_ms), n_windows / sum(took_ms) * 1e3, n_tokens / n_windows)
        )
    return found
