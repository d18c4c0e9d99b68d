"""Which of the words that Whisper writes did nobody say? What it writes of silence, and what it repeats.

Whisper learnt from subtitles, and always writes something. Every rule here looks at one window alone.
Sources: openai/whisper `transcribe.py` (no-speech, log probability, compression ratio, improbable words),
and what is reported of its phantoms (Koenecke et al. 2024, arXiv:2402.08021; Baranski et al. 2025,
arXiv:2501.11378).
"""

import math
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voicestack.core.audio import EAR_RATE_HZ, Pcm
from voicestack.core.heard import HeardWord, sentence

P_NO_SPEECH = 0.6
"""`no_speech_threshold`: a window with a greater probability is silence ..."""
MIN_MEAN_LOG_P = -1.0
"""... unless the words have a better mean log probability than this: `logprob_threshold`."""
MAX_COMPRESSION_RATIO = 2.4
"""`compression_ratio_threshold`: text that gzip makes smaller than by this factor repeats itself."""

MAX_TIMES = 3
"""Nobody says the same words more often than this without a break, but "no, no, no" is said."""
MAX_LOOP_WORDS = 12
"""Longest repeated passage that is looked for; loops of Whisper are a phrase or a sentence."""

IMPROBABLE_P, SHORT_S, LONG_S = 0.15, 0.133, 2.0
"""`word_anomaly_score`: a word less probable, shorter or longer than this was perhaps not said."""
SHORT_PER_S = 15
N_JUDGED = 8
"""`is_segment_anomaly`: so many words decide. It counts three such words as enough; that drops what was said
badly, so here it takes all of them."""

LEVEL_SAMPLES = EAR_RATE_HZ // 100
SILENCE_DBFS = -60.0
"""A room with a microphone in it is louder."""
SPAN_DB = 40.0
"""What is so far below the loudest tenth of the window is not a word: the consonants of one voice lie within
30 dB of its vowels."""
REACH_S = 0.2
"""How far a word's time may be off: WhisperX counts 0.2 s as a hit (Bain et al. 2023, arXiv:2303.00747)."""

PHANTOMS = frozenset(
    {
        *("thank you", "thanks for watching", "thank you for watching", "thank you very much", "thanks"),
        *("please subscribe", "like and subscribe", "see you next time", "see you in the next video"),
        *("subtitles by the amara.org community", "bye", "bye bye", "you", "the end", "so", "i'm sorry"),
        *("untertitel der amara.org-community", "untertitel im auftrag des zdf für funk 2017"),
        *(
            "sous-titres réalisés par la communauté d'amara.org",
            "sous-titrage st' 501",
            "merci d'avoir regardé",
        ),
        *("subtítulos realizados por la comunidad de amara.org", "gracias por ver el video", "gracias"),
        *(
            "ご視聴ありがとうございました",
            "字幕由amara.org社区提供",
            "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目",
        ),
    }
)
"""What Whisper writes of silence and noise most often, as the works above report it, and its like in other
languages that users of faster-whisper report."""
PHANTOM_P_NO_SPEECH, DOUBTFUL_P_RIGHT = 0.3, 0.5
"""People say "thank you" too: it is a phantom where silence is half as probable as it must be by itself, or
the words are less probable than not."""


def levels_dbfs(pcm: Pcm) -> NDArray[np.float32]:
    """RMS level of every whole 10 ms, relative to full scale, at least -90 dB. Shape (n_samples // 160,)."""
    n_whole = len(pcm) // LEVEL_SAMPLES
    blocks = pcm[: n_whole * LEVEL_SAMPLES].astype(np.float32).reshape(n_whole, LEVEL_SAMPLES) / 32768
    levels: NDArray[np.float32] = 10 * np.log10((blocks * blocks).mean(axis=1) + 1e-9)
    return levels


def level_dbfs(pcm: Pcm) -> float:
    """RMS level of all of it, as above."""
    samples = pcm.astype(np.float32)
    return 10 * math.log10(float(samples @ samples) / max(1, len(samples)) / 32768**2 + 1e-9)


def audible(levels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of the levels could be part of a word of the loudest voice among them."""
    if len(levels) == 0:
        return np.zeros(0, np.bool_)
    floor_db = max(SILENCE_DBFS, float(np.quantile(levels, 0.9)) - SPAN_DB)
    heard: NDArray[np.bool_] = levels > floor_db
    return heard


def is_silence(p_no_speech: float, mean_log_p: float) -> bool:
    """Whether Whisper itself finds that nothing was said."""
    return p_no_speech > P_NO_SPEECH and not mean_log_p > MIN_MEAN_LOG_P


def is_repetitive(text: str) -> bool:
    """Whether the text goes in circles."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) > MAX_COMPRESSION_RATIO if data else False


def without_loops(words: Sequence[HeardWord]) -> tuple[HeardWord, ...]:
    """The words up to the first passage that is said more than MAX_TIMES in a row, with one of it."""
    bare = [_bare(word) for word in words]
    for start in range(len(words)):
        for n_loop in range(1, MAX_LOOP_WORDS + 1):
            passage = bare[start : start + n_loop]
            n_times = 1
            while bare[start + n_times * n_loop : start + (n_times + 1) * n_loop] == passage:
                n_times += 1
            if n_times > MAX_TIMES and len(passage) == n_loop:
                return tuple(words[: start + n_loop])
    return tuple(words)


def within_sound(words: Sequence[HeardWord], heard: NDArray[np.bool_]) -> tuple[HeardWord, ...]:
    """The words but the doubtful ones where there is nothing to hear; `heard` has a value for every 10 ms.

    A word that the model is sure of stays: rather its time is wrong.
    """
    return tuple(word for word in words if word.p_right >= DOUBTFUL_P_RIGHT or _sounds(word, heard))


def _sounds(word: HeardWord, heard: NDArray[np.bool_]) -> bool:
    first, last = math.floor((word.start_s - REACH_S) * 100), math.ceil((word.end_s + REACH_S) * 100)
    return bool(heard[max(0, first) : last].any())


def are_improbable(words: Sequence[HeardWord]) -> bool:
    """Whether the words are too unlikely, short or long to be words."""
    judged = words[:N_JUDGED]
    return bool(judged) and sum(_anomaly(word) for word in judged) + 0.01 >= len(judged)


def is_phantom(words: Sequence[HeardWord], p_no_speech: float) -> bool:
    """Whether these words, all of a window, were made up."""
    maybe_silent = p_no_speech > PHANTOM_P_NO_SPEECH
    if sentence(words).casefold().strip(" .,!?\u3002\uff01\u2026") in PHANTOMS:
        return maybe_silent or sum(word.p_right for word in words) < DOUBTFUL_P_RIGHT * len(words)
    return maybe_silent and are_improbable(words)


def _anomaly(word: HeardWord) -> float:
    long_s = word.end_s - word.start_s
    score = 1.0 if word.p_right < IMPROBABLE_P else 0.0
    return score + max(0.0, SHORT_S - long_s) * SHORT_PER_S + max(0.0, long_s - LONG_S)


def _bare(word: HeardWord) -> str:
    return "".join(letter for letter in word.text.casefold() if letter.isalnum())
