"""What can be configured of the engines that follow a script?"""

from pydantic import BaseModel, Field

from voicestack.config.kinds import STRICT


class ScriptedSection(BaseModel):
    """Engines for tests and benches: what they cost. `asr.workers_max` and `llm.slots` are their places."""

    model_config = STRICT

    times: str = ""
    """A file of recorded service times (`voicestack bench overload --record`); empty: nothing takes time."""
    tts_places: int = Field(default=1, ge=1, le=1_000)
    """Phrases that are made at the same time. One: eSpeak NG is one process."""
    seed: int = 1
    """Of the order in which the recorded times are taken."""
