"""What can be configured, what is it by default, and why? One frozen tree, a section per part of the server.

The text under each key says its unit and where its default comes from. Keys of sections that an engine does
not use are checked all the same, so that a profile can be changed with one `--set`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr, model_validator

from voicestack.config.access import AccessSection, LimitsSection, TlsSection
from voicestack.config.admission import AdmissionSection
from voicestack.config.answers import AnswersSection
from voicestack.config.budget import BudgetSection, LadderSection
from voicestack.config.fleet import FleetSection
from voicestack.config.kinds import STRICT, HttpUrl, blame
from voicestack.config.ledger import LedgerSection
from voicestack.config.mcp import McpSection
from voicestack.config.models import ModelsSection
from voicestack.config.opener import OpenerSection
from voicestack.config.piper import PiperSection
from voicestack.config.remote import AsrServerSection, TtsServerSection
from voicestack.config.scripted import ScriptedSection
from voicestack.config.vllm import VllmSection
from voicestack.config.webrtc import WebRtcSection
from voicestack.config.whisper import WhisperSection

Port = Annotated[int, Field(ge=0, le=65_535)]
Count = Annotated[int, Field(ge=1, le=10_000)]
Ms = Annotated[int, Field(ge=0, le=600_000)]
Texts = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]

INSTRUCTIONS = "You are a friendly assistant on the telephone. Answer every question in one short sentence."
"""15 to 17 words an answer from SmolLM2-135M-Instruct; longer rules make it longer-winded, not better."""

ANSWERS = (
    "That is a good question, and the answer is quite simple.",
    "Of course. Let me think about that for a moment, and then tell you more.",
    "Yes, I believe that it is so.",
)

TEXTS = ("what can you do for me today", "tell me something about the sea", "is it going to rain tomorrow")


class ServerSection(BaseModel):
    """Where to listen, and what a peer may cost."""

    model_config = STRICT

    host: str = "127.0.0.1"
    """Only this machine. Another address needs keys, see `access`."""
    port: Port = 8080
    """0 takes any free port."""
    max_sessions: Count = 64
    """More are refused with 503 or WS close 1013. One core is meant to sustain 60."""
    max_message_bytes: int = Field(default=22_020_096, ge=65_536)
    """Largest client message. Realtime API: an append holds up to 15 MiB: 20 MiB as base64, and its JSON."""
    write_buffer_limit_bytes: int = Field(default=1_048_576, ge=65_536)
    """A peer with more unread than this is closed: 16 s of PCM16 at 24 kHz as base64, so it does not read."""
    session_limit_s: int = Field(default=3600, ge=1)
    """Longest session. The Realtime API's limit is 60 minutes."""
    shutdown_grace_s: float = Field(default=10.0, ge=0, le=600)
    """Time that calls have to end after SIGTERM; the default of `docker stop` until it kills."""


class SessionSection(BaseModel):
    """What a session is like until its peer says otherwise."""

    model_config = STRICT

    instructions: str = INSTRUCTIONS
    """The system prompt. Small models keep to a few short rules only."""
    voice: str = "default"
    """A voice name of the TTS."""
    apology: str = "Sorry, I lost my train of thought. Could you say that again?"
    """Said when a reply cannot be finished. Must not be long: it is the answer to a failure."""
    lead_ms: Ms = 120
    """Audio is sent so far ahead of being played: six frames of 20 ms may be late before a gap is heard."""
    keep_audio_s: int = Field(default=0, ge=0, le=60)
    """So much of what was said, by both sides, is kept in memory and comes with
    `conversation.item.retrieved`; the oldest items go first. None: few clients ask, and what is not kept
    cannot leak. A second is at most 48 kB, so that 60 of them are 185 MB with 64 sessions."""
    queue_ms: Ms = Field(default=400, ge=20)
    """Audio held between TTS and peer at most; the only backpressure."""


class TurnSection(BaseModel):
    """When the user starts and stops, and what is done about it."""

    model_config = STRICT

    threshold: float = Field(default=0.5, ge=0.0, le=1.0)
    """p_speech from which a window is speech. Realtime API `server_vad`."""
    prefix_padding_ms: Ms = Field(default=300, le=5_000)
    """Audio before the start that belongs to the utterance. Realtime API `server_vad`."""
    silence_duration_ms: Ms = Field(default=500, ge=64, le=10_000)
    """Silence that ends an utterance. Realtime API `server_vad`; 200 is twice as quick and cuts more off."""
    soft_end_ms: Ms = Field(default=64, ge=32, le=2_000)
    """Silence after which a draft begins: two windows of Silero VAD (32 ms each)."""
    min_speech_ms: Ms = Field(default=64, le=2_000)
    """Shorter sounds are clicks: two windows of Silero VAD."""
    create_response: bool = True
    """Answer when the user has finished."""
    interrupt_response: bool = True
    """Stop speaking when the user speaks."""
    draft_replies: bool = True
    """Begin to answer at a soft end, before it is certain that the user has finished."""
    max_drafts: int = Field(default=3, ge=0, le=100)
    """Drafts per turn at most. LiveKit's `max_tries` for preemptive generation."""
    words_deadline_ms: Ms = Field(default=3_000, ge=100)
    """Longest wait for the words of an utterance that has ended; then what was understood is answered."""
    stall_ms: Ms = Field(default=1_000, ge=100)
    """Audio that stops coming in mid-utterance for so long has ended it. Twice the longest silence above."""


class VadSection(BaseModel):
    """Which voice activity detector."""

    model_config = STRICT

    engine: Literal["silero", "energy"] = "silero"
    """`energy` takes whatever is loud for speech; for tests."""


class AsrSection(BaseModel):
    """Which speech recogniser."""

    model_config = STRICT

    engine: Literal["pocketsphinx", "whisper", "openai", "scripted"] = "pocketsphinx"
    """`openai` is any server with that API, another voicestack too: see the section `asr_server`."""
    workers_min: Count = 1
    """Decoder processes that are always there."""
    workers_max: Count = 4
    """Decoder processes at most; started when they are needed."""
    texts: Texts = TEXTS
    """What the scripted recogniser hears, in turn."""

    @model_validator(mode="after")
    def _in_order(self) -> "AsrSection":
        if self.workers_max < self.workers_min:
            raise blame(
                "workers_max",
                "should not be less than asr.workers_min",
                self.workers_max,
                because=["workers_min"],
            )
        return self


class LlmSection(BaseModel):
    """Which language model, and how it is asked."""

    model_config = STRICT

    engine: Literal["llama_server", "vllm", "openai", "scripted"] = "llama_server"
    """`openai` is any server with that API: a vLLM or llama.cpp that runs already, a hosted one. `vllm` is
    started and kept running by voicestack: see the section `vllm`."""
    dialect: Literal["auto", "vllm", "plain"] = "auto"
    """What an `openai` server understands beside the API: `auto` asks it whether it is vLLM."""
    url: HttpUrl = ""
    """Where the API is, up to and including /v1. For `openai` only."""
    model: str = ""
    """Its name at the API (`openai`), an adapter's name (`vllm`; empty for none), or a GGUF file
    (`llama_server`): its path, or a name that `voicestack models list` knows; empty for SmolLM2."""
    api_key: SecretStr = SecretStr("")
    """Better set as VOICESTACK__LLM__API_KEY than in a file."""
    binary: str = ""
    """Path of llama-server; empty for the one that `make run` builds."""
    slots: Count = 4
    """Conversations whose prefix stays in llama-server's KV cache."""
    context_tokens: int = Field(default=2_048, ge=256)
    """Longest conversation per slot. SmolLM2 is trained on 8192; 2048 are about 20 short turns."""
    threads: int = Field(default=0, ge=0, le=1_024)
    """CPU threads of llama-server; 0 takes what it finds best."""
    max_tokens: int = Field(default=60, ge=1)
    """Longest answer: about 45 words, 15 seconds of speech."""
    stop: Texts = ("\n",)
    """Texts before which an answer ends. A line feed keeps lists out of spoken answers."""
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    """Greedy: a 135M model has no good second choice."""
    top_p: float = Field(default=0.9, gt=0.0, le=1.0)
    """SmolLM2-135M-Instruct's model card."""
    repeat_penalty: float = Field(default=1.0, ge=0.5, le=2.0)
    """1.0 is none: 1.05 and 1.1 made SmolLM2's answers longer and more often wrong."""
    first_token_ms: Ms = Field(default=5_000, ge=1)
    """Longest wait for the first token; more than a cold prompt takes on two busy cores."""
    token_gap_ms: Ms = Field(default=2_000, ge=1)
    """Longest wait between two tokens; then the server has hung."""
    tools: Literal["auto", "native", "prompted"] = "auto"
    """How functions are called. `native`: the API's own way, for models that learned it. `prompted`: examples
    and a grammar, for models that did not (needs a llama.cpp server). `auto`: the packaged model's way is
    `prompted`, any other's `native`."""
    images: bool = False
    """Let clients show pictures (`input_image`, PNG and JPEG). For `openai`, and a model that sees."""
    prime: bool = True
    """Compute the prompt's KV while the user still speaks."""
    heartbeat_s: Literal["auto"] | Annotated[float, Field(ge=0.0, le=3_600.0)] = "auto"
    """After so many seconds without a request a tiny one is made, so that the next is not slow; 0 is never.
    `auto`: 5 for `vllm`, whose first token comes later after some 10 s of idling; never for `llama_server`,
    whose does not, and for `openai`, which may cost money."""
    heartbeat_budget_ms: Ms = Field(default=500, ge=1)
    """A heartbeat that takes longer means that the server is not warm: /readyz says so until one does not."""
    answers: Texts = ANSWERS
    """What the scripted model says, in turn."""

    @model_validator(mode="after")
    def _has_address(self) -> "LlmSection":
        for key, value in (("url", self.url), ("model", self.model)):
            if self.engine == "openai" and not value:
                raise blame(key, "is needed when llm.engine is 'openai'", value, because=["engine"])
        if self.images and (self.engine != "openai" or self.tools == "prompted"):
            message = "needs llm.engine 'openai' and llm.tools other than 'prompted'"
            raise blame("images", message, self.images, because=["engine", "tools"])
        return self


class TtsSection(BaseModel):
    """Which voice."""

    model_config = STRICT

    engine: Literal["espeak", "piper", "openai", "scripted"] = "espeak"
    """`openai` is any server with that API, another voicestack too: see the section `tts_server`."""
    voice: str = "en-us"
    """What the voice `default` means: a voice of the engine."""
    rate_wpm: int = Field(default=170, ge=80, le=450)
    """Words a minute at speed 1.0. eSpeak NG's own default is 175; it is easier to follow a little slower."""


class StagesSection(BaseModel):
    """The stages used alone, over `/v1/audio/*`: what they may cost, so that calls do not suffer."""

    model_config = STRICT

    max_transcriptions: Count = 2
    """At the same time; more are refused with 503. One of `asr.workers_max` is left to calls."""
    max_speeches: Count = 4
    """At the same time; more are refused with 503."""
    max_completions: Count = 4
    """Answers for other servers at the same time, each after those of this server's own calls; more are
    refused with 503."""
    max_chat_bytes: int = Field(default=1_048_576, ge=1_024)
    """Longest request for an answer: a conversation of 200 000 words."""
    beside_calls_ratio: float = Field(default=2.0, gt=0.0, le=1_000.0)
    """Seconds of audio a second, all requests together, while somebody is in a call. Without calls there is
    no limit. PocketSphinx needs 0.12 of a core per second of audio: 2 take a quarter of a core."""
    max_upload_bytes: int = Field(default=26_214_400, ge=65_536)
    """Largest audio file: 25 MiB, as OpenAI has it."""
    max_audio_s: int = Field(default=3_600, ge=1)
    """Longest audio: an hour, which PocketSphinx works on for seven minutes."""
    max_input_chars: int = Field(default=4_096, ge=1)
    """Longest text to say, as OpenAI has it: about five minutes of speech."""


class TelemetrySection(BaseModel):
    """What is written down."""

    model_config = STRICT

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """No level but `debug` shows what anybody said."""
    log_format: Literal["auto", "text", "json"] = "auto"
    """`auto`: text on a terminal, JSON lines elsewhere."""
    record_dir: str = ""
    """Where each call's events go, as JSON lines for `voicestack replay`; empty for nowhere."""
    record_words: bool = False
    """Keep the user's words in the recordings; otherwise placeholders."""
    otlp_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """An OpenTelemetry collector: one trace a turn goes there, over HTTP. Empty for what the variable
    OTEL_EXPORTER_OTLP_ENDPOINT says; without that, nowhere. The other OTEL_* variables hold, too."""
    tenant_labels: Annotated[tuple[str, ...], Field(strict=False, max_length=100)] = ()
    """Tenants that Prometheus' figures about objectives tell apart; all others are `other`."""


class Config(BaseModel):
    """All of it."""

    model_config = STRICT

    profile: str = "custom"
    """A name for logs and metrics."""
    server: ServerSection = ServerSection()
    access: AccessSection = AccessSection()
    limits: LimitsSection = LimitsSection()
    tls: TlsSection = TlsSection()
    session: SessionSection = SessionSection()
    turn: TurnSection = TurnSection()
    vad: VadSection = VadSection()
    asr: AsrSection = AsrSection()
    llm: LlmSection = LlmSection()
    tts: TtsSection = TtsSection()
    scripted: ScriptedSection = ScriptedSection()
    whisper: WhisperSection = WhisperSection()
    vllm: VllmSection = VllmSection()
    piper: PiperSection = PiperSection()
    asr_server: AsrServerSection = AsrServerSection()
    tts_server: TtsServerSection = TtsServerSection()
    models: ModelsSection = ModelsSection()
    stages: StagesSection = StagesSection()
    mcp: McpSection = McpSection()
    webrtc: WebRtcSection = WebRtcSection()
    opener: OpenerSection = OpenerSection()
    answers: AnswersSection = AnswersSection()
    budget: BudgetSection = BudgetSection()
    ladder: LadderSection = LadderSection()
    admission: AdmissionSection = AdmissionSection()
    fleet: FleetSection = FleetSection()
    ledger: LedgerSection = LedgerSection()
    telemetry: TelemetrySection = TelemetrySection()
