"""What can be configured of Piper, the voice of the profiles `cpu` and `gpu`, and of what it remembers."""

from typing import Annotated

from pydantic import BaseModel, Field

from voicestack.config.kinds import STRICT

Names = Annotated[tuple[str, ...], Field(strict=False)]
Scale = Annotated[float, Field(ge=-1.0, le=4.0)]
"""Negative is the voice's own figure."""


class PiperSection(BaseModel):
    """For `tts.engine = "piper"`."""

    model_config = STRICT

    voice: str = "en_US-kristin-medium"
    """A name that `voicestack models list` knows, or the path of a voice's `.onnx` file. What `default`, and
    every name that is no voice, means."""
    voices: Names = ()
    """More voices, loaded as well: each takes about 100 MB in every worker (medium quality). A client chooses
    by name ("de_DE-thorsten-medium"), with a speaker ("en_US-libritts-high#3") or by language ("de")."""
    speaker: str = ""
    """Name or number of the default voice's speaker; empty for its own choice."""
    workers: int = Field(default=2, ge=1, le=64)
    """Phrases that are made at the same time. With two or more, one is kept for first clauses, so that a long
    answer to one caller does not delay the beginning of another's. A worker with a medium voice takes 230 MB,
    and up to 500 MB once it has said long phrases."""
    threads: int = Field(default=0, ge=0, le=64)
    """Cores for one phrase; 0 divides the machine's among the workers, at most 4 each: with more of them a
    clause is hardly made sooner."""
    use_cuda: bool = False
    """Run the voices on a GPU. Needs onnxruntime-gpu; a medium voice is fast enough without."""
    length_scale: Scale = -1.0
    """How long everything lasts at speed 1.0: 1.2 is a fifth slower; negative for the voice's own figure."""
    noise_scale: Scale = -1.0
    """How much the sound varies, 0 not at all; negative for the voice's own figure."""
    noise_w: Scale = -1.0
    """How much the lengths vary, 0 not at all; negative for the voice's own figure."""
    lexicon: str = ""
    """A TOML file of pronunciations: a table per language and `all`, words on the left, on the right a
    respelling or phonemes in [[ ]]."""
    cache_bytes: int = Field(default=16_777_216, ge=0)
    """What remembered phrases may take: 16 MiB are six minutes of speech. 0 remembers none."""
    phrases: Names = ()
    """Phrases that are made at the start, beside the apology: openers, fixed prompts."""
