"""A Whisper whose words are tones: a CTranslate2 model that is calculated and not trained, and its speech.

A word is a sound of two tones. The lower one says its place in the order of all words (16 places, then the
first again), the upper one which of the four words of that place it is. The decoder looks, with the model's
cross-attention, for the place after that of its last token, or first of all for the earliest sound; where
there is none it ends. So the words depend on the sound alone, whenever it begins, the times that alignment
finds are right, and a word that is repeated or out of order is not understood.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import whisper_spec  # type: ignore[import-untyped]
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tests.support.speech import Utterance, silence
from voicestack.aio.clock import SystemClock
from voicestack.core.audio import EAR_RATE_HZ, Pcm
from voicestack.engines.whisper_asr import WhisperAsr
from voicestack.engines.whisper_model import WhisperSettings
from voicestack.engines.whisper_pace import PaceRules

Floats = NDArray[np.float32]

WORDS = (
    ("Who", "What", "Where", "When"),
    ("is", "was", "are", "were"),
    ("the", "my", "your", "our"),
    ("capital", "weather", "number", "answer"),
    ("Tell", "Show", "Give", "Bring"),
    ("me", "us", "them", "her"),
    ("a", "some", "one", "every"),
    ("story", "joke", "song", "poem"),
    ("Please", "Kindly", "Quickly", "Quietly"),
    ("turn", "switch", "put", "make"),
    ("on", "off", "up", "down"),
    ("lights", "music", "heating", "alarm"),
    ("How", "Why", "Whether", "That"),
    ("many", "much", "long", "far"),
    ("people", "cars", "birds", "rivers"),
    ("live", "move", "sing", "run"),
)
"""The words of each place."""
N_PLACES, N_EACH = len(WORDS), len(WORDS[0])
WORD_MS, GAP_MS = 320, 80
SPECIAL = (
    *("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>"),
    *("<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"),
)
"""In the order of openai/whisper's `tokenizer.py`."""
N_TIMES = 1501

N_MELS = 80
WIDTH = 64
N_HEADS = 1
PLACE, EACH = slice(0, 16), slice(16, 20)
TIME, LOUD, ANY, CALM = 20, 21, 22, slice(24, 64)
"""Where in a vector is what. CALM keeps the norm of every vector the same, so that layer norm changes
nothing."""
N_CALM, CALM_SIZE = 40, 500.0
FRAMES_MAX = 1500
TONE_FLOOR = 0.85
"""Log mel energy, as Whisper scales it, from which a band has a tone: the tones of `spoken` have 1.2."""
THERE = 5.0
"""What the encoder says of a tone: gelu(5) is 5."""
STRENGTH = 12.0
"""Of attention for the right place. Alignment divides by what varies between the words, so nothing may be
0."""
FIRST, HURRY = 8.0, 0.3
"""How much more strongly, and by how much per frame, the first word is looked for where it is earlier: a
sound begins 20 frames after the one before, which leaves it exp(-6) of the attention."""


def mel_hz() -> Floats:
    """The middle of each mel band (openai/whisper `assets/mel_filters.npz`: Slaney's scale)."""
    mels = np.linspace(0.0, 45.245640471924965, N_MELS + 2)
    hz = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (mels - 15)))
    return hz[1:-1].astype(np.float32)


PLACE_BANDS = tuple(range(4, 4 + 3 * N_PLACES, 3))
EACH_BANDS = tuple(range(58, 58 + 6 * N_EACH, 6))
"""Far enough from each other: two bands beside a tone its energy is still a tenth."""


def spoken(words: str, lead_ms: int = 0) -> Pcm:
    """The sound of these words: int16 at EAR_RATE_HZ."""
    parts = [silence(lead_ms)]
    for word in words.split():
        place, each = next((p, one.index(word)) for p, one in enumerate(WORDS) if word in one)
        t_s = np.arange(WORD_MS * EAR_RATE_HZ // 1000) / EAR_RATE_HZ
        tones = sum(
            np.sin(2 * np.pi * hz * t_s) for hz in (mel_hz()[PLACE_BANDS[place]], mel_hz()[EACH_BANDS[each]])
        )
        ramp = np.sin(np.clip(np.minimum(t_s, t_s[::-1]) / 0.06, 0, 1) * np.pi / 2) ** 2
        parts += [(6000 * tones * ramp).astype(np.int16), silence(GAP_MS)]
    return np.concatenate(parts)


def said(words: str) -> Utterance:
    """An utterance as the contract suite has them."""
    pcm = spoken(words)
    return Utterance(f"tones: {words}", words, pcm, 0, len(pcm) - GAP_MS * EAR_RATE_HZ // 1000 - 1)


TALK = tuple(
    said(words)
    for words in (
        "What is the weather",
        "Tell me a story",
        "Kindly switch off lights",
        "How many people live",
    )
)
"""Once around all places."""


def build(folder: Path) -> Path:
    """Write the model, its tokenizer and its settings. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, text_tokens = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    times = [f"<|{n * 0.02:.2f}|>" for n in range(N_TIMES)]
    vocabulary = [*text_tokens, *SPECIAL, *times]
    spec = _spec(vocabulary, tokenizer)
    spec.register_vocabulary(vocabulary)
    # As openai/whisper does (`_get_suppress_tokens`): no special token is ever an answer, but the end.
    spec.config.suppress_ids = [vocabulary.index(token) for token in SPECIAL[1:]]
    spec.config.suppress_ids_begin = []
    spec.config.alignment_heads = [(0, 0)]
    spec.validate()
    spec.optimize(quantization="float32")
    spec.save(str(folder))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": N_MELS}))
    return folder


def _tokenizer() -> tuple[Tokenizer, list[str]]:
    """Bytes, and every word by growing it letter by letter from its space."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens, merges = list(alphabet), []
    for word in [word for place in WORDS for word in place]:
        grown = "Ġ"
        for letter in word:
            pair = (grown, letter)
            grown += letter
            if pair not in merges:
                merges.append(pair)
                tokens.append(grown)
    vocabulary = {token: n for n, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*SPECIAL, *(f"<|{n * 0.02:.2f}|>" for n in range(N_TIMES))])
    return tokenizer, tokens


def _spec(vocabulary: list[str], tokenizer: Tokenizer) -> whisper_spec.WhisperSpec:
    spec = whisper_spec.WhisperSpec(1, N_HEADS, 1, N_HEADS)
    _encoder(spec.encoder)
    _decoder(spec.decoder, vocabulary, tokenizer)
    return spec


def _zeros(*shape: int) -> Floats:
    return np.zeros(shape, np.float32)


def _calm(n_rows: int) -> Floats:
    rows = _zeros(n_rows, WIDTH)
    rows[:, CALM] = np.where(np.arange(N_CALM) % 2, CALM_SIZE, -CALM_SIZE)
    return rows


LN_GAIN = CALM_SIZE * (N_CALM / WIDTH) ** 0.5
"""Undoes layer norm's division by the standard deviation."""


def _norm(layer: Any) -> None:
    layer.gamma = np.full(WIDTH, LN_GAIN, np.float32)
    layer.beta = _zeros(WIDTH)


def _encoder(encoder: whisper_spec.WhisperEncoderSpec) -> None:
    """Two convolutions turn mel bands into places, kinds and loudness; positions add the time."""
    first, second = _zeros(WIDTH, N_MELS, 3), _zeros(WIDTH, WIDTH, 3)
    first_bias, second_bias = _zeros(WIDTH), _zeros(WIDTH)
    for n, band in enumerate((*PLACE_BANDS, *EACH_BANDS)):
        # gelu(x) - gelu(x - 40) is 40 for every large x: a tone is there, or it is not.
        first[n, band, 1] = first[EACH.stop + n, band, 1] = 400.0
        first_bias[n] = -400.0 * TONE_FLOOR
        first_bias[EACH.stop + n] = -400.0 * TONE_FLOOR - 40.0
        second[n, n, 1] = THERE / 40
        second[n, EACH.stop + n, 1] = -THERE / 40
    encoder.conv1.weight, encoder.conv1.bias = first, first_bias
    encoder.conv2.weight, encoder.conv2.bias = second, second_bias
    positions = _calm(FRAMES_MAX)
    positions[:, TIME] = np.arange(FRAMES_MAX) / FRAMES_MAX
    encoder.position_encodings.encodings = positions
    _norm(encoder.layer_norm)
    _silent_layer(encoder.layer[0])


def _silent_layer(layer: Any) -> None:
    """Attention and feed-forward that add nothing."""
    _norm(layer.self_attention.layer_norm)
    inner, outer = layer.self_attention.linear
    inner.weight, inner.bias = _zeros(3 * WIDTH, WIDTH), _zeros(3 * WIDTH)
    outer.weight, outer.bias = _zeros(WIDTH, WIDTH), _zeros(WIDTH)
    _norm(layer.ffn.layer_norm)
    for linear in (layer.ffn.linear_0, layer.ffn.linear_1):
        linear.weight, linear.bias = _zeros(WIDTH, WIDTH), _zeros(WIDTH)


def _decoder(spec: Any, vocabulary: list[str], tokenizer: Tokenizer) -> None:
    """A token asks for the place after its own, and becomes the word that is found there."""
    ids = {token: n for n, token in enumerate(vocabulary)}
    embeddings = _calm(len(vocabulary))
    embeddings[:, LOUD] = embeddings[:, TIME] = 1.0  # anything that is no word asks for the earliest sound
    out, bias = _zeros(len(vocabulary), WIDTH), np.full(len(vocabulary), -100.0, np.float32)
    for place, words in enumerate(WORDS):
        for each, word in enumerate(words):
            token = ids["Ġ" + word]
            embeddings[token, LOUD] = embeddings[token, TIME] = 0.0
            embeddings[token, PLACE.start + (place + 1) % N_PLACES] = 1.0
            out[token, PLACE.start + place] = out[token, EACH.start + each] = 40.0
            bias[token] = -50.0
    # Layer norm subtracts the mean, and would make a word repel what FIRST attracts.
    embeddings[:, CALM] -= embeddings.sum(axis=1, keepdims=True) / N_CALM
    bias[ids["<|endoftext|>"]] = 0.0
    bias[ids["<|nospeech|>"]] = 6.0
    spec.embeddings.weight = embeddings
    spec.position_encodings.encodings = _zeros(448, WIDTH)
    _norm(spec.layer_norm)
    spec.projection.weight, spec.projection.bias = out, bias
    layer = spec.layer[0]
    _silent_layer(layer)
    _norm(layer.attention.layer_norm)
    query, keys_values, outer = layer.attention.linear
    there = np.float32(WIDTH**0.5 * STRENGTH / THERE)
    ask = _zeros(WIDTH, WIDTH)
    ask[PLACE, PLACE] = np.eye(N_PLACES)
    ask[LOUD, LOUD], ask[TIME, TIME] = FIRST, 1.0
    query.weight, query.bias = ask, _zeros(WIDTH)
    query.bias[ANY] = 1.0
    key, value = _zeros(WIDTH, WIDTH), _zeros(WIDTH, WIDTH)
    key[PLACE, PLACE] = 2 * there * np.eye(N_PLACES)
    key[LOUD, EACH] = 2 * there  # and not PLACE: where a sound begins, more than one place may have a little
    key[ANY, PLACE] = -there
    key[TIME, TIME] = -(WIDTH**0.5) * HURRY * FRAMES_MAX
    value[: EACH.stop, : EACH.stop] = np.eye(EACH.stop) / THERE
    keys_values.weight = np.concatenate([key, value])
    keys_values.bias = _zeros(2 * WIDTH)
    outer.weight, outer.bias = np.eye(WIDTH, dtype=np.float32), _zeros(WIDTH)


def tone_asr(folder: Path, n_processes: int = 1, **options: Any) -> WhisperAsr:
    """A recogniser with that model: windows of 5 s, so that no two words of a place are in one."""
    one = WhisperSettings(str(folder), compute_type="float32", n_threads=1, n_beams=1)
    rules = PaceRules(window_max_s=5.0, window_min_s=3.0)
    return WhisperAsr(clock=SystemClock(), settings=[one] * n_processes, **{"rules": rules} | options)


async def until_quiet(asr: WhisperAsr) -> None:
    """Let the recogniser do all that it can do about what it has heard so far."""
    for _ in range(3):
        await asyncio.sleep(0)
        while asr.figures()["open"]:  # noqa: ASYNC110 (a window may follow the last: there is no event)
            await asyncio.sleep(0.001)
