"""Which voices does a Piper have, and which of them does a name mean?

A voice is two files: `<name>.onnx`, the network, and `<name>.onnx.json`, what belongs to it. Nothing here
needs Piper itself.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voicestack.core.errors import ConfigError
from voicestack.engines.model_store import find_model

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class VoiceFile:
    """A voice on the disk.

    Attributes:
        name: The file's, without ".onnx".
        path: The network.
        rate_hz: What it speaks at.
        language: As a tag, "en_US" or "de".
        n_speakers: How many it can imitate.
        speakers: Their numbers by name, if they have names.
    """

    name: str
    path: str
    rate_hz: int
    language: str
    n_speakers: int = 1
    speakers: Mapping[str, int] = field(default_factory=dict)

    def speaker(self, wanted: str) -> int | None:
        """The number of a speaker by name or number; None for the voice's own choice."""
        if wanted in self.speakers:
            return self.speakers[wanted]
        return int(wanted) if wanted.isdecimal() and int(wanted) < self.n_speakers > 1 else None


@dataclass(frozen=True, slots=True)
class Choice:
    """Who speaks: the place of the voice among those that are loaded, and the speaker in it."""

    voice: int
    speaker: int | None = None


def find_voice(named: str, folder: Path) -> VoiceFile:
    """A voice by its path or its name in the store.

    Raises:
        ConfigError: it is not there, or is no Piper voice; the message has the command that fetches it.
    """
    flat = folder / f"{named}.onnx"
    path = flat if flat.is_file() else find_model(named, folder)
    if path.is_dir():
        networks = sorted(path.rglob("*.onnx"))
        if len(networks) != 1:
            raise ConfigError(f"{path} should hold one Piper voice (.onnx); it holds {len(networks)}")
        path = networks[0]
    about = path.with_name(f"{path.name}.json")
    if not about.is_file():
        raise ConfigError(
            f"the voice {path} has no {about.name} beside it: `voicestack models pull {path.stem}`"
        )
    try:
        return _read(path, json.loads(about.read_text("utf-8")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(f"{about} does not describe a Piper voice: {error!r}") from error


def _read(path: Path, about: Mapping[str, object]) -> VoiceFile:
    audio, espeak, language = (about.get(key) for key in ("audio", "espeak", "language"))
    if not isinstance(audio, Mapping) or not isinstance(espeak, Mapping):
        raise ValueError("'audio' and 'espeak' are needed")
    tag = language.get("code") if isinstance(language, Mapping) else None
    speakers = about.get("speaker_id_map")
    names = {str(name): int(n) for name, n in speakers.items()} if isinstance(speakers, Mapping) else {}
    return VoiceFile(
        name=path.name.removesuffix(".onnx"),
        path=str(path),
        rate_hz=int(audio["sample_rate"]),
        language=str(tag or espeak["voice"]),
        n_speakers=int(str(about.get("num_speakers", 1))),
        speakers=names,
    )


def choose(voices: Sequence[VoiceFile], wanted: str, default: Choice) -> Choice:
    """What a voice name means.

    "name", "name#3" and "name#alice" are a voice and a speaker of it, "#3" a speaker of the default voice,
    "de" or "de_DE" the first voice of that language. Everything else is the default voice.
    """
    name, _, who = wanted.partition("#")
    if name in ("", DEFAULT):
        place: int | None = default.voice
    else:
        place = next((n for n, voice in enumerate(voices) if voice.name == name), None)
        place = _of_language(voices, name) if place is None else place
    if place is None:
        return default
    speaker = voices[place].speaker(who) if who else None
    if speaker is None and place == default.voice:
        speaker = default.speaker
    return Choice(place, speaker)


def _of_language(voices: Sequence[VoiceFile], tag: str) -> int | None:
    tag = tag.lower().replace("_", "-")
    for n, voice in enumerate(voices):
        of = voice.language.lower().replace("_", "-")
        if of == tag or of.startswith(f"{tag}-"):
            return n
    return None
