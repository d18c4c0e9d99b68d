"""What can be configured of vLLM, the LLM server of the profile `gpu`."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from voicestack.config.kinds import STRICT, blame

Count = Annotated[int, Field(ge=1, le=10_000)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]

NEEDS_MODEL = ("draft_model", "eagle3")
SPARE_RATIO = 0.48
"""Two of them, and some room for what is not counted (contexts, graphs)."""


class VllmSection(BaseModel):
    """For `llm.engine = "vllm"`: the server that is started and supervised."""

    model_config = STRICT

    model: str = "qwen3-8b"
    """A name that `voicestack models list` knows, or the path of a folder with a model as vLLM loads it, or
    of a GGUF file of the Llama architecture; empty for SmolLM2-135M-Instruct."""
    python: str = ""
    """The interpreter that has vLLM; empty for the one that runs voicestack."""
    weights: Literal["auto", "fp8"] = "auto"
    """`fp8` halves what a token reads from memory, and needs a GPU that computes with it (Hopper, Ada)."""
    kv: Literal["auto", "fp8"] = "auto"
    """`fp8` keeps twice as many conversations in the same memory."""
    tensor_parallel: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs that share one model."""
    gpu_memory_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    """Of the GPU's memory, for weights and KV together."""
    performance_mode: Literal["interactivity", "balanced", "throughput"] = "interactivity"
    """Interactivity prepares graphs for every small batch: a token comes sooner, a start takes longer."""
    eager: bool = False
    """Compile nothing: a start takes seconds, every token a little longer."""
    max_requests: Count = 64
    """Replies and primes that are computed at the same time."""
    batch_tokens: Annotated[int, Field(ge=64, le=1_000_000)] = 2_048
    """Tokens of one step: long prompts are computed in such pieces, between other replies' tokens."""
    prefix_caching: bool = True
    """Keep the KV of prompts, for the next turn of the same conversation."""
    queue_requests: Annotated[int, Field(ge=0, le=10_000)] = 32
    """Requests that may wait beside those that are computed; more are refused at once (503)."""
    target_first_token_ms: Annotated[int, Field(ge=1, le=600_000)] = 300
    """Prompts are refused while those that wait would take longer than this (503)."""
    prefill_tokens_per_s: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """How fast prompts are computed, prefix hits included; 0 takes what was measured when this model ran here
    last. A model's first run has no limit of this kind."""
    speculation: Literal["off", "ngram", "ngram_gpu", "suffix", "draft_model", "eagle3", "mtp"] = "off"
    """Where drafts of several tokens come from. Of greedy replies it changes the speed only."""
    speculation_model: str = ""
    """For `draft_model` and `eagle3`: a name that `voicestack models list` knows, or a path."""
    speculation_tokens: Annotated[int, Field(ge=1, le=32)] = 3
    """Longest draft."""
    speculation_by_load: bool = True
    """Draft less the more replies are computed at once, and nothing past 32."""
    loras: dict[str, str] = {}
    """Adapters by name: paths of folders. A client that connects with `?model=NAME` is answered by one of
    them, everybody else by `llm.model`."""
    tool_parser: str = ""
    """How vLLM finds calls in what the model writes (`--tool-call-parser`); empty takes it from the name."""
    spare: bool = False
    """Keep a second server asleep, which takes over within a second or so when the first one dies. It costs
    the weights in RAM, and half of the GPU: while either one starts both are awake. CUDA and ROCm only."""
    extra: Texts = ()
    """Further arguments for the command line, as they are."""
    environment: dict[str, str] = {}
    """Further environment variables."""
    start_limit_s: Annotated[int, Field(ge=1, le=7_200)] = 600
    """A start that takes longer has failed. The first one compiles, which takes minutes."""

    @model_validator(mode="after")
    def _leaves_room(self) -> "VllmSection":
        if self.spare and self.gpu_memory_ratio > SPARE_RATIO:
            message = f"should not be more than {SPARE_RATIO} when vllm.spare is on: both may be awake"
            raise blame("gpu_memory_ratio", message, self.gpu_memory_ratio, because=["spare"])
        return self

    @model_validator(mode="after")
    def _has_draft(self) -> "VllmSection":
        if self.speculation in NEEDS_MODEL and not self.speculation_model:
            message = f"is needed when vllm.speculation is '{self.speculation}'"
            raise blame("speculation_model", message, self.speculation_model, because=["speculation"])
        return self
