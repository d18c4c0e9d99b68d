"""What can be configured of the replicas that answer, here and in other regions?"""

from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, model_validator

from voicestack.config.kinds import STRICT, HttpUrl, Names, blame

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
Ms = Annotated[int, Field(ge=0, le=600_000)]
Ratio = Annotated[float, Field(ge=0.0, le=1.0)]
LOCAL = "local"
"""The name of the replica that is this server's own engine."""


class ReplicaSection(BaseModel):
    """Another server that can do one stage, by a name of its own: `[fleet.llm.NAME]`."""

    model_config = STRICT

    url: HttpUrl = ""
    """Where the API is, up to and including /v1: another voicestack, vLLM, anything with the OpenAI API."""
    model: str = "default"
    """Its name at the API. A voicestack takes any."""
    api_key: SecretStr = SecretStr("")
    """Better set as VOICESTACK__FLEET__LLM__NAME__API_KEY than in a file."""
    region: Name = "local"
    """Where it is. Other regions are asked when this one cannot, or only later than they can."""
    rtt_ms: float = Field(default=0.0, ge=0.0, le=10_000.0)
    """The way there and back, until it is measured."""
    max_requests: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Requests of this server that it gets at the same time; more wait here, in the order of importance."""

    @model_validator(mode="after")
    def _has_address(self) -> "ReplicaSection":
        if not self.url:
            raise blame("url", "is needed of every replica", self.url, because=[])
        return self


class LlmReplicaSection(ReplicaSection):
    """A language model."""

    small: bool = False
    """A smaller and faster model: it writes beginnings of answers, and nothing else."""
    speculates: bool = False
    """Speculative decoding is on there. No server lets a request switch it off, so the rung `speculation` is
    to ask a replica that has none."""


class TtsReplicaSection(ReplicaSection):
    """A voice. It should be the same as this server's: it may say the second half of an answer."""

    voice: str = "default"
    """What the voice `default` means, and any that is not among `voices`."""
    voices: Names = ()
    """Names of voices that are passed on."""
    rate_hz: int = Field(default=24_000, ge=8_000, le=48_000, multiple_of=50)
    """Sample rate of what the server sends as `pcm`."""


class AsrReplicaSection(ReplicaSection):
    """A recogniser."""

    language: str = Field(default="", pattern=r"^([a-z]{2,3})?$")
    """ISO 639-1; empty to let the server find out."""


class FleetSection(BaseModel):
    """Where this server is, and who else can answer."""

    model_config = STRICT

    region: Name = "local"
    """The name of the place; in the ledger of every turn."""
    llm: dict[Name, LlmReplicaSection] = {}
    """Language models beside `llm.engine`, which is the replica `local`."""
    tts: dict[Name, TtsReplicaSection] = {}
    """Voices beside `tts.engine`."""
    asr: dict[Name, AsrReplicaSection] = {}
    """Recognisers beside `asr.engine`."""
    max_requests: int = Field(default=0, ge=0, le=10_000)
    """Replies that `llm.engine` writes at the same time; more wait, in the order of importance. 0 is no
    limit: the engines order what they do themselves."""
    probe_s: float = Field(default=2.0, gt=0.0, le=600.0)
    """How often replicas are asked how they are. Consul's and Envoy's health checks are made every 5 to 10 s,
    which is several turns."""
    measure_s: float = Field(default=10.0, ge=0.0, le=3_600.0)
    """A language model elsewhere that was not asked for so long is asked for one token: so it stays warm, and
    it is known how long it takes. 0 is never, for servers that cost money."""
    sticky_s: float = Field(default=60.0, ge=0.0, le=3_600.0)
    """A session that was silent for longer may be served anywhere: its KV has been evicted."""
    cold_ms: Ms = 2_000
    """What a replica that is not warm is thought to take longer: the first prompt after a start."""
    margin_ms: Ms = 50
    """Another region must be sooner by so much, for what is not measured of it."""
    stay_ms: Ms = 30
    """A session changes its replica only to gain more: there its whole prompt is computed again."""
    hedge_ratio: Ratio = 0.05
    """Replies for which a second replica may be asked. One of twenty takes longer than the 95th percentile,
    at which The Tail at Scale (Dean and Barroso, 2013) hedges."""
    hedge_busy_ratio: Ratio = 0.7
    """Of a replica's `max_requests`, in use with the hedge. Above, hedges slow down what they are to help."""
    hedge_away: bool = False
    """Hedge to other regions, too."""
    breaker_failures: Annotated[int, Field(ge=1, le=100)] = 3
    """Failures in a row after which a replica is not asked. Envoy's 5 would be five users who wait longer."""
    breaker_failure_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Or failures among its last 20 requests: resilience4j's default."""
    breaker_slow_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8
    """Or failures and answers that are late, among them."""
    breaker_slow_ms: Ms = 0
    """First results that come later are late; 0 for `budget.turn_ms`."""
    breaker_open_ms: Ms = Field(default=2_000, ge=1)
    """First time out; it doubles up to a minute. Then a request of ours is tried. Envoy's is 30 s, but tries
    a user's."""
    tts_patience_ms: Ms = Field(default=500, ge=1)
    """Another voice is asked for a phrase of which nothing is heard for so long."""
    asr_patience_ms: Ms = Field(default=1_000, ge=1)
    """Another recogniser is asked when there are no words so long after a pause."""

    @model_validator(mode="after")
    def _has_own_names(self) -> "FleetSection":
        for stage in ("llm", "tts", "asr"):
            if LOCAL in getattr(self, stage):
                raise blame(stage, f"cannot have a replica '{LOCAL}': that is this server", LOCAL, because=[])
        return self
