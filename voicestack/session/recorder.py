"""How is a call kept, so that its decisions can be taken again? One file of JSON lines per call.

What is in it is written down in `turn/replay.py`: the events that the turn machine was given, what it
decided, and the policies in force. No audio, nothing that the agent said, and the user's words only when
asked for.
"""

import json
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from voicestack.core.ids import SessionId
from voicestack.turn.actions import Action
from voicestack.turn.events import Event
from voicestack.turn.policy import Policy
from voicestack.turn.replay import Fields, Pseudonyms, WordsKept, encode_header, encode_policy, encode_step

log = logging.getLogger(__name__)


class Recorder:
    """Writes one call to `directory/<session>.jsonl`.

    The file appears with the first line, readable by its owner only. Every line is one write to the file, so
    what was decided before a crash is there after it. When a line cannot be written (a full disk, a directory
    that may not be written to, a file of that name) the recording ends with one warning and the call goes on.

    Args:
        directory: Made if it is missing.
        session: Names the file; characters that do not belong into a file name become `_`.
        with_words: Keep what the user said. Otherwise every word is replaced by a placeholder.
    """

    def __init__(self, directory: str | Path, session: SessionId, *, with_words: bool = False) -> None:
        self.path = Path(directory) / (re.sub(r"[^A-Za-z0-9_-]", "_", session) + ".jsonl")
        self._session = session
        self._hidden = None if with_words else Pseudonyms()
        self._policy: Policy | None = None
        self._file: int | None = None
        self._ended = False

    def policy(self, policy: Policy) -> None:
        """From now on the machine decides by this policy. Call it before the first `step`."""
        if policy == self._policy:
            return
        if self._policy is None:
            words: WordsKept = "verbatim" if self._hidden is None else "placeholders"
            self._write(encode_header(self._session, policy, words))
        else:
            self._write(encode_policy(policy))
        self._policy = policy

    def step(self, event: Event, actions: Iterable[Action]) -> None:
        """The machine was given `event` and decided `actions`."""
        assert self._policy is not None, "a policy comes first"
        self._write(encode_step(event, actions, self._hidden))

    def close(self) -> None:
        """The call is over; nothing is written after this."""
        self._ended = True
        if self._file is not None:
            file, self._file = self._file, None
            try:
                os.close(file)
            except OSError as error:
                log.warning("the recording %s may be incomplete: %s", self.path, error.strerror)

    def _write(self, line: Fields) -> None:
        if self._ended:
            return
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        try:
            if self._file is None:
                self._file = self._open()
            if os.write(self._file, data) < len(data):
                raise OSError(0, "only a part of a line was written", str(self.path))
        except OSError as error:
            log.warning("this call is not recorded any further: %s: %s", self.path, error.strerror)
            self.close()

    def _open(self) -> int:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
