"""`python -m voicestack.cli.random_whisper FOLDER SHAPE`: a Whisper of real shape that has learnt nothing.

How long a model takes depends on its shape and on how many tokens it writes, and not on what its weights are.
So speed can be measured where no trained model can be had. It writes the same number of tokens whatever it
hears: from a certain position on the end is all it can think of.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
N_TEXT_TOKENS = 50_257
"""Of the models of many languages."""


@dataclass(frozen=True, slots=True)
class Shape:
    """As the `config.json` of openai/whisper-* on the model's page has it."""

    n_encoder_layers: int
    n_decoder_layers: int
    width: int
    n_heads: int
    n_mels: int = 80
    n_text_tokens: int = N_TEXT_TOKENS
    n_languages: int = 99

    @property
    def is_multilingual(self) -> bool:
        """Whether it has been taught more than English; it has one token more then."""
        return self.n_text_tokens == N_TEXT_TOKENS


SHAPES = {
    "tiny.en": Shape(4, 4, 384, 6, n_text_tokens=N_TEXT_TOKENS - 1),
    "base.en": Shape(6, 6, 512, 8, n_text_tokens=N_TEXT_TOKENS - 1),
    "small.en": Shape(12, 12, 768, 12, n_text_tokens=N_TEXT_TOKENS - 1),
    "large-v3": Shape(32, 32, 1280, 20, n_mels=128, n_languages=100),
    "large-v3-turbo": Shape(32, 4, 1280, 20, n_mels=128, n_languages=100),
}
N_TOKENS = 18
"""A question of five seconds: twelve words, and half as many tokens more."""
N_TIMES, N_FRAMES, N_POSITIONS = 1501, 1500, 448
SPREAD = 0.02
"""Standard deviation of a weight, as transformers initialises Whisper (`init_std`)."""
SEED = 20261128


def build(folder: Path, shape: Shape, n_tokens: int = N_TOKENS) -> Path:
    """Write a model in CTranslate2's format that writes `n_tokens` tokens. Returns the folder."""
    from ctranslate2.specs import whisper_spec  # type: ignore[import-untyped]

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary(shape)
    spec = whisper_spec.WhisperSpec(
        shape.n_encoder_layers, shape.n_heads, shape.n_decoder_layers, shape.n_heads
    )
    filler = _Filler(shape.width)
    filler.encoder(spec.encoder, shape.n_mels)
    filler.decoder(spec.decoder, vocabulary, n_tokens)
    spec.register_vocabulary(vocabulary)
    first_special = shape.n_text_tokens + 1
    languages = range(first_special + 1, first_special + 1 + shape.n_languages)
    n_last = shape.n_decoder_layers // 2
    spec.config.suppress_ids = list(range(first_special, first_special + shape.n_languages + 7))
    spec.config.suppress_ids_begin = [shape.n_text_tokens]
    spec.config.lang_ids = list(languages)
    spec.config.alignment_heads = [
        (layer, head) for layer in range(n_last, shape.n_decoder_layers) for head in range(shape.n_heads)
    ]
    spec.validate()
    spec.optimize(quantization="float16")
    spec.save(str(folder))
    (folder / "preprocessor_config.json").write_text(f'{{"feature_size": {shape.n_mels}}}')
    _save_tokenizer(folder, vocabulary, shape)
    return folder


class _Filler:
    """Gives every weight of a model a value."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._random = np.random.default_rng(SEED)

    def encoder(self, spec: Any, n_mels: int) -> None:
        width = self._width
        spec.conv1.weight, spec.conv1.bias = self._normal(width, n_mels, 3), self._zeros(width)
        spec.conv2.weight, spec.conv2.bias = self._normal(width, width, 3), self._zeros(width)
        spec.position_encodings.encodings = self._normal(N_FRAMES, width)
        self._norm(spec.layer_norm)
        for layer in spec.layer:
            self._layer(layer)

    def decoder(self, spec: Any, vocabulary: list[str], n_tokens: int) -> None:
        width = self._width
        embeddings, positions = self._normal(len(vocabulary), width), self._normal(N_POSITIONS, width)
        ending = self._normal(width) * 25  # longer than all else that is added up in a position
        n_start = 4 if "" in vocabulary else 2  # tokens before the first that it writes
        n_before = n_start - 1 + n_tokens
        positions[:n_before] -= ending
        positions[n_before:] += ending
        spec.embeddings.weight, spec.position_encodings.encodings = embeddings, positions
        output = embeddings.copy()
        output[vocabulary.index("<|endoftext|>")] = ending
        spec.projection.weight = output
        self._norm(spec.layer_norm)
        for layer in spec.layer:
            self._layer(layer)
            self._attention(layer.attention, (width, 2 * width, width))

    def _layer(self, layer: Any) -> None:
        width = self._width
        self._attention(layer.self_attention, (3 * width, width))
        self._norm(layer.ffn.layer_norm)
        self._linear(layer.ffn.linear_0, 4 * width, width)
        self._linear(layer.ffn.linear_1, width, 4 * width)

    def _attention(self, attention: Any, n_out: tuple[int, ...]) -> None:
        self._norm(attention.layer_norm)
        for linear, n in zip(attention.linear, n_out, strict=True):
            self._linear(linear, n, self._width)

    def _linear(self, linear: Any, n_out: int, n_in: int) -> None:
        linear.weight, linear.bias = self._normal(n_out, n_in), self._zeros(n_out)

    def _norm(self, norm: Any) -> None:
        norm.gamma, norm.beta = np.ones(self._width, np.float32), self._zeros(self._width)

    def _normal(self, *shape: int) -> Floats:
        return self._random.standard_normal(shape, np.float32) * np.float32(SPREAD)

    @staticmethod
    def _zeros(*shape: int) -> Floats:
        return np.zeros(shape, np.float32)


def _vocabulary(shape: Shape) -> list[str]:
    """Bytes, words without a meaning, and what is special, in the order of openai/whisper `tokenizer.py`."""
    from faster_whisper.tokenizer import _LANGUAGE_CODES  # type: ignore[import-untyped]
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [f"\u0120w{n}" for n in range(shape.n_text_tokens - len(letters))]  # it is how a space is written
    if shape.is_multilingual:
        words[-1] = ""  # by this token CTranslate2 tells
    languages = [f"<|{code}|>" for code in _LANGUAGE_CODES[: shape.n_languages]]
    tasks = ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"]
    special = ["<|endoftext|>", "<|startoftranscript|>", *languages, *tasks, "<|notimestamps|>"]
    return [*letters, *words, *special, *(f"<|{n * 0.02:.2f}|>" for n in range(N_TIMES))]


def _save_tokenizer(folder: Path, vocabulary: list[str], shape: Shape) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    plain = {token: n for n, token in enumerate(vocabulary[: shape.n_text_tokens])}
    tokenizer = Tokenizer(models.BPE(vocab=plain, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(vocabulary[shape.n_text_tokens :])
    tokenizer.save(str(folder / "tokenizer.json"))


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m voicestack.cli.random_whisper")
    parser.add_argument("folder", type=Path)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--tokens", type=int, default=N_TOKENS, help="that it writes (default: %(default)s)")
    args = parser.parse_args()
    print(build(args.folder, SHAPES[args.shape], args.tokens))


if __name__ == "__main__":
    main()
