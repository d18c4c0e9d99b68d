"""What must the engines understand, answer, call and say? A labelled set: a folder with a `set.toml`."""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from voicestack.cli.bench_speech import Line, read_line
from voicestack.cli.tool_requests import Questions, read_questions
from voicestack.cli.waveform import BadWav, decode_wav, resample
from voicestack.core.audio import EAR_RATE_HZ, Pcm
from voicestack.core.errors import ConfigError
from voicestack.core.history import Message

MANIFEST = "set.toml"
DEFAULT_SET = Path(__file__).resolve().parent / "gate_data"
"""Comes with the package."""
_STRICT = ConfigDict(extra="forbid", frozen=True)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as bad:
        raise ValueError(f"not a regular expression: {bad}") from None
    return text


_Text = Annotated[str, Field(min_length=1)]
_Pattern = Annotated[str, AfterValidator(_pattern)]


class _Recording(BaseModel):
    model_config = _STRICT
    file: _Text
    words: _Text


class _Dialogue(BaseModel):
    model_config = _STRICT
    lines: Annotated[list[_Text], Field(min_length=1)]
    expect: list[_Pattern] = []
    reject: list[_Pattern] = []


class _Sentence(BaseModel):
    model_config = _STRICT
    text: _Text


class _Tools(BaseModel):
    model_config = _STRICT
    file: _Text
    part: _Text = "development"


class _Manifest(BaseModel):
    model_config = _STRICT
    schema_: Literal[1] = Field(alias="schema")
    name: _Text
    limits: dict[str, float] = {}
    tools: _Tools | None = None
    dialogues: list[_Dialogue] = []
    sentences: list[_Sentence] = []
    recordings: list[_Recording] = []


@dataclass(frozen=True, slots=True)
class Recording:
    """Something that was said. `pcm` is int16 mono at EAR_RATE_HZ; `line` is the same for a caller."""

    key: str
    words: str
    pcm: Pcm
    line: Line


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation that waits for the agent.

    Attributes:
        key: Names it, and changes with what is asked.
        messages: The user's and the agent's lines in turn, the user's last.
        expect: Patterns that must be found in the answer, all of them.
        reject: Patterns of which none may be.
    """

    key: str
    messages: tuple[Message, ...]
    expect: tuple[str, ...]
    reject: tuple[str, ...]

    def is_right(self, answer: str) -> bool:
        """Whether the answer will do."""
        return all(re.search(one, answer, re.IGNORECASE) for one in self.expect) and not any(
            re.search(one, answer, re.IGNORECASE) for one in self.reject
        )


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """All of it. `sentences` are texts to say, by their key."""

    name: str
    limits: Mapping[str, float]
    recordings: tuple[Recording, ...]
    dialogues: tuple[Dialogue, ...]
    sentences: Mapping[str, str]
    questions: Questions | None

    def quick(self) -> "LabelledSet":
        """For a quick run: every second request for functions, which take the longest. The rest is cheap."""
        if self.questions is None:
            return self
        return replace(self, questions=replace(self.questions, spoken=self.questions.spoken[::2]))


def read_set(folder: Path) -> LabelledSet:
    """Read a labelled set.

    Raises:
        ConfigError: it is not there, or a part of it cannot be used; the message names the file.
    """
    path = folder / MANIFEST
    try:
        found = _Manifest.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as bad:
        raise ConfigError(f"--labelled {folder}: {path}: {bad.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as bad:
        raise ConfigError(f"{path}: {bad}") from None
    except ValidationError as bad:
        problem = bad.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(f"{path}: {where}: {problem['msg']}") from None
    dialogues = tuple(_dialogue(one) for one in found.dialogues)
    return LabelledSet(
        found.name,
        found.limits,
        tuple(_recording(folder, one) for one in found.recordings),
        dialogues,
        {key_of(one.text, one.text): one.text for one in found.sentences},
        read_questions(folder / found.tools.file, found.tools.part) if found.tools else None,
    )


def key_of(name: str, *content: str | bytes) -> str:
    """A name that people know and that changes with the content: what is compared is the same question."""
    digest = hashlib.sha256()
    for part in content:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return f"{name} #{digest.hexdigest()[:8]}"


def _recording(folder: Path, one: _Recording) -> Recording:
    path = folder / one.file
    try:
        line = read_line(path, one.words)
        data = path.read_bytes()
        sound = decode_wav(data)
    except BadWav as bad:
        raise ConfigError(str(bad)) from None
    pcm = resample(sound.pcm, sound.rate_hz, EAR_RATE_HZ)
    return Recording(key_of(Path(one.file).name, data, one.words), one.words, pcm, line)


def _dialogue(one: _Dialogue) -> Dialogue:
    n_lines = len(one.lines)
    messages = tuple(
        Message("user" if (n_lines - n) % 2 else "agent", line) for n, line in enumerate(one.lines)
    )
    key = key_of(one.lines[-1], *one.lines, "expect", *one.expect, "reject", *one.reject)
    return Dialogue(key, messages, tuple(one.expect), tuple(one.reject))
