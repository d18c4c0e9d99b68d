"""How does Whisper understand several windows at once? One pass of faster-whisper's model over all of them.

A window is filled up with silence to a multiple of BUCKET_S and not to 30 s, which is what Whisper
otherwise works on however little was said. Only windows of one length and one length of prompt share a pass
(CTranslate2 wants it so), so that what is understood does not depend on who else speaks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicestack.core.audio import EAR_RATE_HZ
from voicestack.core.heard import HeardWord, sentence
from voicestack.engines.hallucinations import (
    audible,
    is_phantom,
    is_repetitive,
    is_silence,
    levels_dbfs,
    within_sound,
    without_loops,
)
from voicestack.engines.whisper_window import Understood, Urgency, Window

BUCKET_S = 5
"""Lengths that differ by less share a pass. Most utterances of a conversation are in the first one."""
TAIL_S = 0.5
"""Silence after the sound at least: Whisper has hardly seen a sound that ends with its window."""
WHISPER_S = 30
HOP_HZ = 100
"""Frames of features a second (openai/whisper `audio.py`: HOP_LENGTH 160)."""
CONTEXT_STEP_TOKENS = 16
CONTEXT_TOKENS = 96
"""Of the words before a window, the last 96 tokens (25 s of speech) at most, and always a multiple of 16, so
that windows with different contexts can share a pass. Whisper has room for 224."""
PROMPT_TOKENS = 64
"""Of a prompt, the last 64 tokens at most stay before the words; it takes their room. Alone it may have all
of it. A prompt is never cut to a multiple: the spelling of one name may be all that is in it."""
HOTWORDS_TOKENS = 96
TOKENS_PER_S, TOKENS_MORE = 16, 24
"""Longest answer. People speak 4 words a second at most, 6 tokens of English; scripts that Whisper spells in
bytes take more. A model that goes in circles stops there."""
MAX_TOKENS = 224
"""openai/whisper `decoding.py`: `sample_len`, half of the decoder's positions."""
AGAIN_NGRAM = 4
"""What went in circles is decoded once more without repeating so many tokens. openai/whisper samples at
rising temperatures instead, up to five times: too long for somebody who waits."""
APPENDED = "\"'.\u3002,\uff0c!\uff01?\uff1f:\uff1a\u201d)]}\u3001"
"""Punctuation that belongs to the word before it: faster-whisper's `append_punctuations`."""

Features = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class WhisperSettings:
    """What to load, and what every window is decoded with.

    Attributes:
        path: Folder of the CTranslate2 model.
        device: `cpu` or `cuda`.
        device_index: Which of them.
        compute_type: As CTranslate2 names it; `auto` is float16 on CUDA and int8 on a CPU.
        n_threads: Of a CPU, per lane; 0 for CTranslate2's own choice.
        n_lanes: Passes that may run at the same time.
        n_beams: Beams of settled and final words. Partial ones are decoded greedily.
        hotwords: What is likely to be said.
        prompt: What a text like this one may begin with; a window's own takes its place.
    """

    path: str
    device: str = "cpu"
    device_index: int = 0
    compute_type: str = "auto"
    n_threads: int = 0
    n_lanes: int = 1
    n_beams: int = 5
    hotwords: str = ""
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """A window that can be decoded.

    Attributes:
        window: It.
        features: Log-mel energies, shape (n_mels, n_frames).
        prompt: Tokens before `<|startoftranscript|>`.
        n_sound_frames: Frames before the silence that fills it up.
    """

    window: Window
    features: Features
    prompt: tuple[int, ...]
    n_sound_frames: int

    @property
    def kind(self) -> tuple[int, int, bool, str]:
        """Windows of one kind can share a pass."""
        greedy = self.window.urgency is Urgency.PARTIAL
        return self.features.shape[1], len(self.prompt), greedy, self.window.language


def padded_s(n_samples: int) -> int:
    """To how many seconds a window of so many samples is filled up."""
    wanted_s = n_samples / EAR_RATE_HZ + TAIL_S
    return min(WHISPER_S, -int(-wanted_s // BUCKET_S) * BUCKET_S)


class WhisperEar:
    """The model. `prepare` and `understand` may be called from different threads.

    Raises:
        RuntimeError, ValueError: the model cannot be loaded on this device.
    """

    def __init__(self, settings: WhisperSettings) -> None:
        from faster_whisper import WhisperModel  # type: ignore[import-untyped]

        self._settings = settings
        self._model: Any = WhisperModel(
            settings.path,
            device=settings.device,
            device_index=settings.device_index,
            compute_type=compute_type(settings.compute_type, settings.device),
            cpu_threads=settings.n_threads,
            num_workers=settings.n_lanes,
            local_files_only=True,
        )
        self.is_multilingual = bool(self._model.model.is_multilingual)
        self._tokenizers: dict[str, Any] = {}
        plain = self._tokenizer("en")
        hotwords = f" {settings.hotwords.strip()}" if settings.hotwords.strip() else ""
        self._hotwords = tuple(plain.encode(hotwords)[:HOTWORDS_TOKENS])

    def prepare(self, window: Window) -> Ready:
        """Everything that needs no model. Takes a few ms of a CPU per second of sound.

        Raises:
            ValueError: Whisper, or this model of it, does not know the language.
        """
        if self._tokenizer(window.language or "en").language is None and self.is_multilingual:
            raise ValueError(f"this model does not know '{window.language}'")
        n_samples = padded_s(len(window.pcm)) * EAR_RATE_HZ
        sound = np.zeros(n_samples, np.float32)
        pcm = window.pcm[:n_samples]
        sound[: len(pcm)] = pcm.astype(np.float32) / 32768
        features = self._model.feature_extractor(sound, padding=0)[:, : n_samples * HOP_HZ // EAR_RATE_HZ]
        n_sound_frames = min(features.shape[1], len(pcm) * HOP_HZ // EAR_RATE_HZ + int(TAIL_S * HOP_HZ))
        return Ready(window, features.astype(np.float32), self._before(window), n_sound_frames)

    def understand(self, batch: Sequence[Ready]) -> list[Understood]:
        """The words of windows of one kind, in one pass."""
        encoded = self._model.encode(np.stack([ready.features for ready in batch]))
        languages = self._languages(encoded, batch)
        prompts = [
            [*ready.prompt, *self._start(language)]
            for ready, (language, _) in zip(batch, languages, strict=True)
        ]
        results = self._generate(encoded, prompts, batch[0])
        token_lists = [list(result.sequences_ids[0]) for result in results]
        self._break_circles(batch, prompts, token_lists)
        aligned = self._align(encoded, batch, languages, token_lists)
        answers = []
        for ready, language, result, tokens, words in zip(
            batch, languages, results, token_lists, aligned, strict=True
        ):
            # As generate_with_fallback has it: the score is a mean without the end token.
            mean_log_p = result.scores[0] * len(tokens) / (len(tokens) + 1) if tokens else -np.inf
            kept = believable(words, ready.window, result.no_speech_prob, mean_log_p)
            answers.append(Understood(kept, *language, p_no_speech=round(result.no_speech_prob, 4)))
        return answers

    def _generate(self, encoded: Any, prompts: list[list[int]], like: Ready, **changes: Any) -> list[Any]:
        seconds = like.features.shape[1] // HOP_HZ
        n_new = min(MAX_TOKENS, TOKENS_MORE + TOKENS_PER_S * seconds)
        greedy = like.window.urgency is Urgency.PARTIAL
        options: dict[str, Any] = {
            "beam_size": 1 if greedy else self._settings.n_beams,
            # CTranslate2 stops at half of it or at what the prompt leaves of it, whichever comes first.
            "max_length": max(2 * n_new, n_new + len(prompts[0])),
            "return_scores": True,
            "return_no_speech_prob": True,
        }
        found: list[Any] = self._model.model.generate(encoded, prompts, **options | changes)
        return found

    def _break_circles(
        self, batch: Sequence[Ready], prompts: list[list[int]], token_lists: list[list[int]]
    ) -> None:
        """Decode once more what repeats itself, unless nobody waits for it."""
        if batch[0].window.urgency is Urgency.PARTIAL:
            return
        text = self._tokenizer("en").decode
        bad = [n for n, tokens in enumerate(token_lists) if is_repetitive(text(tokens))]
        if not bad:
            return
        encoded = self._model.encode(np.stack([batch[n].features for n in bad]))
        again = self._generate(encoded, [prompts[n] for n in bad], batch[0], no_repeat_ngram_size=AGAIN_NGRAM)
        for n, result in zip(bad, again, strict=True):
            token_lists[n] = list(result.sequences_ids[0])

    def _align(
        self,
        encoded: Any,
        batch: Sequence[Ready],
        languages: Sequence[tuple[str, float]],
        token_lists: Sequence[list[int]],
    ) -> list[list[HeardWord]]:
        """The words with their places, from the cross-attention of the model's alignment heads."""
        aligned: list[list[HeardWord]] = [[] for _ in batch]
        tokenizers = [self._tokenizer(language) for language, _ in languages]
        texts = [
            [token for token in tokens if token < tokenizer.eot]
            for tokenizer, tokens in zip(tokenizers, token_lists, strict=True)
        ]
        if not any(texts):
            return aligned
        for language in {language for language, _ in languages}:
            tokenizer = self._tokenizer(language)
            mine = [n for n, (other, _) in enumerate(languages) if other == language]
            part = (
                encoded
                if len(mine) == len(batch)
                else self._model.encode(np.stack([batch[n].features for n in mine]))
            )
            found = self._model.find_alignment(
                tokenizer, [texts[n] for n in mine], part, [batch[n].n_sound_frames for n in mine]
            )
            for n, words in zip(mine, found, strict=True):
                aligned[n] = whole_words(words)
        return aligned

    def _languages(self, encoded: Any, batch: Sequence[Ready]) -> list[tuple[str, float]]:
        given = batch[0].window.language
        if not self.is_multilingual:
            return [("en", 1.0)] * len(batch)
        if given:
            return [(given, 1.0)] * len(batch)
        found = self._model.model.detect_language(encoded)
        return [(ranked[0][0][2:-2], round(float(ranked[0][1]), 4)) for ranked in found]

    def _before(self, window: Window) -> tuple[int, ...]:
        """What stands before the transcript: hotwords, the prompt, and the end of what was said before."""
        said = self._encoded(window.context)
        prompt = self._encoded(window.prompt or self._settings.prompt)
        prompt = prompt[-(PROMPT_TOKENS if said else CONTEXT_TOKENS) :]
        n_said = min(CONTEXT_TOKENS - len(prompt), len(said)) // CONTEXT_STEP_TOKENS * CONTEXT_STEP_TOKENS
        kept = (*self._hotwords, *prompt, *said[len(said) - n_said :])
        return (self._tokenizer("en").sot_prev, *kept) if kept else ()

    def _encoded(self, text: str) -> list[int]:
        return list(self._tokenizer("en").encode(f" {text.strip()}")) if text.strip() else []

    def _start(self, language: str) -> list[int]:
        tokenizer = self._tokenizer(language)
        return [*tokenizer.sot_sequence, tokenizer.no_timestamps]

    def _tokenizer(self, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer  # type: ignore[import-untyped]

        if language not in self._tokenizers:
            self._tokenizers[language] = Tokenizer(
                self._model.hf_tokenizer, self.is_multilingual, task="transcribe", language=language
            )
        return self._tokenizers[language]


def compute_type(wanted: str, device: str) -> str:
    """The type of number to compute with: a choice that fits the device, unless one is named."""
    if wanted != "auto":
        return wanted
    return "float16" if device == "cuda" else "int8"


def whole_words(aligned: Sequence[dict[str, Any]]) -> list[HeardWord]:
    """faster-whisper's words, with the punctuation that follows each."""
    words: list[HeardWord] = []
    for one in aligned:
        text, start_s, end_s = one["word"], max(0.0, float(one["start"])), max(0.0, float(one["end"]))
        if words and text.strip() and text.strip() in APPENDED:
            last = words[-1]
            words[-1] = HeardWord(last.text + text, last.start_s, last.end_s, last.p_right)
        elif text.strip():
            words.append(
                HeardWord(text, round(start_s, 2), round(end_s, 2), round(float(one["probability"]), 3))
            )
    return words


def believable(
    words: Sequence[HeardWord], window: Window, p_no_speech: float, mean_log_p: float
) -> tuple[HeardWord, ...]:
    """The words of a window without those that nobody said."""
    if not sentence(words) or is_silence(p_no_speech, mean_log_p):
        return ()
    kept = within_sound(without_loops(words), audible(levels_dbfs(window.pcm)))
    return () if is_phantom(kept, p_no_speech) else kept
