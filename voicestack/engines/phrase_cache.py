"""What has been said before is not made again: a TTS in front of a TTS, with a memory for short phrases.

Replies begin with the same few words again and again, and the apology and other fixed prompts never change.
A phrase that is remembered is there at once, also when the engine behind is busy or down.
"""

import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from voicestack.core.audio import SpokenFrame
from voicestack.core.errors import StageError
from voicestack.ports import Measured, SpeechRequest, Tts

log = logging.getLogger(__name__)


MAX_CHARS = 60
"""Longer phrases are hardly ever said twice, and would push out those that are."""
FRAME_BYTES = 200
"""What a frame takes beside its samples and characters: its object, an array and a text, in CPython 3.11."""


@dataclass(frozen=True, slots=True)
class _Key:
    voice: str
    speed: float
    text: str


@dataclass(frozen=True, slots=True)
class _Said:
    frames: tuple[SpokenFrame, ...]
    size_bytes: int


class PhraseCache:
    """Satisfies `ports.Tts`.

    The least recently used phrases go when there is no room; fixed phrases stay. White space around a phrase
    belongs to its place in the text, not to what is remembered.

    Args:
        tts: Makes what is not remembered.
        max_bytes: What all phrases may take; 0 remembers nothing.
        fixed: Phrases to remember from the start, see `warm`.
        voice: What they are said with.
    """

    def __init__(
        self, tts: Tts, *, max_bytes: int, fixed: Sequence[str] = (), voice: str = "default"
    ) -> None:
        self._tts = tts
        self._max_bytes = max_bytes
        self._fixed = tuple(_Key(voice, 1.0, text.strip()) for text in fixed if text.strip())
        self._said: OrderedDict[_Key, _Said] = OrderedDict()  # least recently used first
        self._size_bytes = 0
        self._n_hits = self._n_misses = self._n_evicted = 0

    @property
    def rate_hz(self) -> int:
        """That of the TTS behind."""
        return self._tts.rate_hz

    def figures(self) -> Mapping[str, float]:
        """For metrics: phrases that were remembered and that were not, those that had to go, what is held.

        With those of the TTS behind, if it has any.
        """
        return {
            "phrase_cache_hits_total": self._n_hits,
            "phrase_cache_misses_total": self._n_misses,
            "phrase_cache_evicted_total": self._n_evicted,
            "phrase_cache_phrases": len(self._said),
            "phrase_cache_bytes": self._size_bytes,
            **(self._tts.figures() if isinstance(self._tts, Measured) else {}),
        }

    async def warm(self) -> None:
        """Make the fixed phrases. A failure is logged: they are then made when they are wanted."""
        for key in self._fixed:
            if key in self._said:
                continue
            request = SpeechRequest(key.text, key.voice, key.speed, follows=True)
            try:
                async with aclosing(self._tts.speak(request)) as frames:
                    self._remember(key, [frame async for frame in frames])
            except StageError as error:
                log.warning("a fixed phrase could not be made ahead: %s", error)

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        """See `ports.Tts`. Raises as the TTS behind does, except for what is remembered."""
        key = _Key(request.voice, request.speed, request.text.strip())
        said = self._said.get(key)
        if said is not None:
            self._n_hits += 1
            self._said.move_to_end(key)
            for frame in _placed(said.frames, request.text):
                yield frame
            return
        self._n_misses += 1
        made: list[SpokenFrame] = []
        is_kept = key in self._fixed or _comes_again(key.text)
        async with aclosing(self._tts.speak(request)) as frames:
            async for frame in frames:
                if is_kept:
                    made.append(frame)
                yield frame
        if made and key.text:
            self._remember(key, _bare(made, request.text))

    def _remember(self, key: _Key, frames: Sequence[SpokenFrame]) -> None:
        size_bytes = sum(frame.pcm.nbytes + len(frame.text) + FRAME_BYTES for frame in frames)
        if size_bytes > self._max_bytes or key in self._said:
            return
        self._said[key] = _Said(tuple(frames), size_bytes)
        self._size_bytes += size_bytes
        for old in [one for one in self._said if one not in self._fixed and one != key]:
            if self._size_bytes <= self._max_bytes:
                return
            self._forget(old)
        if self._size_bytes > self._max_bytes:  # only fixed phrases are left
            self._forget(key)

    def _forget(self, key: _Key) -> None:
        self._size_bytes -= self._said.pop(key).size_bytes
        self._n_evicted += 1


def _comes_again(text: str) -> bool:
    """Whether it may be said to others as well. What has a number in it is about one person, or one day."""
    return len(text) <= MAX_CHARS and not any(map(str.isdigit, text))


def _bare(frames: Sequence[SpokenFrame], text: str) -> list[SpokenFrame]:
    """The frames of a phrase without the white space around it."""
    n_before = len(text) - len(text.lstrip())
    n_after = len(text.rstrip())
    out, at = [], 0
    for frame in frames:
        start, end = at, at + len(frame.text)
        kept = text[max(start, n_before) : min(end, n_after)] if end > n_before else ""
        out.append(SpokenFrame(frame.pcm, kept))
        at = end
    return out


def _placed(frames: Sequence[SpokenFrame], text: str) -> list[SpokenFrame]:
    """The frames with the white space around the phrase in this text."""
    before = text[: len(text) - len(text.lstrip())]
    after = text[len(text.rstrip()) :]
    with_text = [n for n, frame in enumerate(frames) if frame.text]
    if not with_text or not (before or after):
        return list(frames)
    out = list(frames)
    first, last = with_text[0], with_text[-1]
    out[first] = SpokenFrame(out[first].pcm, before + out[first].text)
    out[last] = SpokenFrame(out[last].pcm, out[last].text + after)
    return out
