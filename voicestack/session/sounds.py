"""What did the newest items of the conversation sound like? Kept where the operator wants it, and bounded.

A second of the user is 32 kB and one of the agent 2 bytes a sample of the TTS (48 kB at 24 kHz), so `keep_s`
seconds are at most `keep_s` x 48 kB a session.
"""

from dataclasses import dataclass, field

import numpy as np

from voicestack.core.audio import Pcm, Sound, ms_to_samples
from voicestack.core.ids import ItemId, UtteranceId

Name = UtteranceId | ItemId
"""An utterance becomes an item when it ends."""


@dataclass(slots=True)
class _Kept:
    rate_hz: int
    parts: list[Pcm] = field(default_factory=list)
    n_samples: int = 0

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.rate_hz


class Sounds:
    """The sound of items, whole or not at all. When there is too much of it, the oldest item's goes.

    Args:
        keep_s: How much, all items together. 0 keeps none.
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._kept: dict[Name, _Kept] = {}
        self._gone: set[Name] = set()  # so that no item comes back without its beginning
        self._kept_s = 0.0

    @property
    def kept_s(self) -> float:
        """Seconds that are kept now."""
        return self._kept_s

    def add(self, name: Name, pcm: Pcm, rate_hz: int) -> None:
        """The item goes on with this: int16 mono."""
        if not self._keep_s or not len(pcm) or name in self._gone:
            return
        kept = self._kept.setdefault(name, _Kept(rate_hz))
        kept.parts.append(pcm)
        kept.n_samples += len(pcm)
        self._kept_s += len(pcm) / rate_hz
        while self._kept_s > self._keep_s:
            oldest = next(iter(self._kept))
            self._drop(oldest)
            self._gone.add(oldest)

    def rename(self, old: Name, new: Name) -> None:
        """It has another name now."""
        if old in self._kept:
            self._kept[new] = self._kept.pop(old)
        elif old in self._gone:
            self._gone.add(new)
        self._gone.discard(old)

    def cut(self, name: Name, heard_ms: float) -> None:
        """Only so much of it was heard."""
        kept = self._kept.get(name)
        if kept is not None:
            rest = np.concatenate(kept.parts)[: ms_to_samples(heard_ms, kept.rate_hz)].copy()
            self._kept_s -= (kept.n_samples - len(rest)) / kept.rate_hz
            kept.parts, kept.n_samples = [rest], len(rest)

    def forget(self, name: Name) -> None:
        """There is no such item any more."""
        self._gone.discard(name)
        self._drop(name)

    def of(self, name: Name) -> Sound | None:
        """All of it, or None."""
        kept = self._kept.get(name)
        return None if kept is None else Sound(np.concatenate(kept.parts), kept.rate_hz)

    def _drop(self, name: Name) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._kept_s = self._kept_s - kept.duration_s if self._kept else 0.0
