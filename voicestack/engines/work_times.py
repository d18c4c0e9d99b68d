"""How long do real engines take for a piece of work? Recorded figures, for engines that follow a script."""

import json
from dataclasses import dataclass
from pathlib import Path

from voicestack.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class WorkTimes:
    """What engines took that had nothing else to do, milliseconds, at least one figure of each.

    Attributes:
        asr_final_ms: From the end of the sound to its words.
        llm_first_token_ms: From the request to the first token.
        llm_token_ms: From one token to the next.
        tts_phrase_ms: From the phrase to its last frame, with a reader who takes all at once.
    """

    asr_final_ms: tuple[float, ...]
    llm_first_token_ms: tuple[float, ...]
    llm_token_ms: tuple[float, ...]
    tts_phrase_ms: tuple[float, ...]


def read_times(path: Path) -> WorkTimes:
    """Read a file that `voicestack bench overload --record` has written.

    Raises:
        ConfigError: it cannot be read, or lacks something.
    """
    try:
        found = json.loads(path.read_bytes())["times"]
        columns = {name: tuple(map(float, found[name])) for name in WorkTimes.__dataclass_fields__}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"scripted.times: {path} holds no service times: {error!r}") from error
    if not all(column and min(column) >= 0 for column in columns.values()):
        raise ConfigError(f"scripted.times: {path} has nothing, or less than nothing, for a stage")
    return WorkTimes(**columns)
