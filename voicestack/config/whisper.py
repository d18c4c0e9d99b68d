"""What can be configured of faster-whisper, the recogniser of the profiles `cpu` and `gpu`."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from voicestack.config.kinds import STRICT, blame

Devices = Annotated[tuple[Annotated[int, Field(ge=0, le=63)], ...], Field(strict=False, min_length=1)]
Hotwords = Annotated[tuple[str, ...], Field(strict=False)]

_CODES = (
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht "
    "hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl "
    "ps pt ro ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh yue"
)
LANGUAGES = tuple(_CODES.split())
"""What Whisper's models of several languages know (openai/whisper `tokenizer.py`); `yue` since large-v3."""


class WhisperSection(BaseModel):
    """For `asr.engine = "whisper"`."""

    model_config = STRICT

    model: str = "base.en"
    """A name that `voicestack models list` knows, or the path of a folder with a CTranslate2 model."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: a GPU when CTranslate2 finds one."""
    devices: Devices = (0,)
    """Which GPUs; each has a process of its own. On a CPU, one process is best: it batches."""
    compute_type: Literal[
        "auto", "int8", "int8_float16", "int8_bfloat16", "int8_float32", "float16", "bfloat16", "float32"
    ] = "auto"
    """`auto`: float16 on a GPU, int8 on a CPU, which is where each of them is fastest."""
    threads: int = Field(default=0, ge=0, le=1_024)
    """CPU threads of a lane; 0 shares the cores between the lanes."""
    lanes: int = Field(default=0, ge=0, le=8)
    """Passes of the model at the same time; 0 for 2 on a GPU, so that it has work while the words of a pass
    are read, and 1 on a CPU, where a second would only be in the way of the first."""
    batch_size: int = Field(default=16, ge=1, le=256)
    """Windows in a pass at most. A pass of 16 takes little longer than one of 1 on a GPU."""
    beam_size: int = Field(default=5, ge=1, le=20)
    """Of settled and final words, as openai/whisper has it. It is hidden under the silence that ends an
    utterance; partial words are decoded greedily. 1 on a CPU that is not fast enough for that."""
    language: str = Field(default="", pattern=r"^([a-z]{2,3})?$")
    """ISO 639-1; empty to find out, for a model of several languages. A given one is quicker and safer. A
    request or a session that names its own language goes before it."""
    hotwords: Hotwords = ()
    """Names and terms that are likely to be said. The model is told of them before every window."""
    prompt: str = Field(default="", max_length=400)
    """A text written like the one that is wanted, with its punctuation and spelling. It costs what it is
    long. The prompt of a request or a session takes its place."""
    cadence_ms: int = Field(default=400, ge=100, le=10_000)
    """New sound before an unfinished utterance is decoded again, while there is room; a word takes 300 ms."""
    cadence_max_ms: int = Field(default=2_000, ge=100, le=60_000)
    """The same under load. A caption that is older is not live any more."""
    window_s: float = Field(default=15.0, ge=2.0, le=25.0)
    """Length from which a window moves up to where words are agreed: 15 s, as whisper_streaming has it."""
    window_min_s: float = Field(default=8.0, ge=2.0, le=25.0)
    """The same under load. Whisper is worse with less to go by, and the words before are its prompt."""
    busy_ratio: float = Field(default=0.5, gt=0.0, le=1.0)
    """What partial words may take of the model's time. The rest is for those that a turn waits for."""
    deadline_ms: int = Field(default=10_000, ge=100, le=600_000)
    """Settled and final words that take longer are given up. A turn stops waiting after
    `turn.words_deadline_ms`; a file can wait longer."""
    max_utterances: int = Field(default=256, ge=1, le=10_000)
    """At the same time; more are refused. 256 sessions at a duty of 15 % speak 38 at a time."""

    @model_validator(mode="after")
    def _in_order(self) -> "WhisperSection":
        for low, high in (("cadence_ms", "cadence_max_ms"), ("window_min_s", "window_s")):
            if getattr(self, low) > getattr(self, high):
                message = f"should not be less than whisper.{low}"
                raise blame(high, message, getattr(self, high), because=[low])
        return self
