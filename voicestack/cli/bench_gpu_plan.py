"""Which servers are started, with which command lines, and what is measured on each?

Pure. The reasons for the options: vLLM's documentation of `vllm serve` and of speculative decoding.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from voicestack.cli.bench_gpu_shapes import CONTEXT_TOKENS, Folders

Section = Literal["cold", "ttft", "heartbeat", "speculation", "sleep", "whisper", "sessions"]
PARTS: dict[str, tuple[Section, ...]] = {
    "llm": ("cold", "ttft", "heartbeat", "sleep", "speculation"),
    "speech": ("whisper", "sessions"),
}
METHODS = ("off", "ngram", "ngram_gpu", "suffix", "draft_model", "eagle3", "mtp")
DTYPES = ("bf16", "fp8")
MODEL = "bench"
"""The name by which requests ask for the model."""
ACCEPTED_LENGTH = 2.5
"""Tokens a step with random weights: emulated (`synthetic_acceptance_length`), the same for every method."""
MAX_SEQUENCES = 128
"""More than the 64 turns of the largest level: in an open loop there are more for a moment."""
BATCH_TOKENS = 2048
"""Computed in one step: as `voicestack serve` starts it."""
KV_BYTES, FEW_KV_BYTES = 14 * 2**30, 6 * 2**30
"""Of keys and values: 64 turns of 1200 tokens at 128 KiB are 9.4 GiB; where methods are compared, at most
16 turns are asked."""
MIN_KV_BYTES, OTHER_BYTES = 2**30, 4 * 2**30
"""One conversation of CONTEXT_TOKENS; what a server takes beside weights and KV: CUDA, graphs, a draft."""
GPU_MEMORY_RATIO = 0.17
"""What vLLM wants to find free before it starts. Its KV is given, so that it takes no more for that."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One server.

    Attributes:
        name: For people, the log and the figures.
        folder: Of the model.
        device: `cuda` or `cpu`.
        dtype: `bf16` or `fp8` (weights and KV).
        speculation: vLLM's `--speculative-config`, None for none.
        random_weights: The folder holds no weights.
        context_tokens: Of the model.
        kv_bytes: Of keys and values, on a GPU.
        can_sleep: Started so that it can be put to sleep.
        eager: Without compilation and graphs: starts soonest, answers slowest.
        extra: More options of vLLM.
    """

    name: str
    folder: Path
    device: str
    dtype: str = "bf16"
    speculation: dict[str, Any] | None = None
    random_weights: bool = True
    can_sleep: bool = False
    eager: bool = False
    context_tokens: int = CONTEXT_TOKENS
    kv_bytes: int = KV_BYTES
    extra: tuple[str, ...] = ()

    @property
    def emulates(self) -> bool:
        """Whether acceptance is emulated: random weights accept everything or nothing. CPUs cannot do it."""
        return self.random_weights and self.device == "cuda"


def command_line(vllm: Sequence[str], launch: Launch, port: int) -> list[str]:
    """How vLLM is started."""
    line = [*vllm, "--model", str(launch.folder), "--served-model-name", MODEL]
    line += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16"]
    line += ["--max-model-len", str(launch.context_tokens), "--max-num-seqs", str(MAX_SEQUENCES)]
    line += ["--max-num-batched-tokens", str(BATCH_TOKENS), "--scheduling-policy", "priority"]
    line += ["--generation-config", "vllm"]
    line += ["--enable-prompt-tokens-details", "--disable-uvicorn-access-log"]
    if launch.random_weights:
        line += ["--load-format", "dummy"]
    if launch.device == "cuda":
        line += ["--performance-mode", "interactivity"]
        line += ["--gpu-memory-utilization", str(GPU_MEMORY_RATIO)]
        line += ["--kv-cache-memory-bytes", str(launch.kv_bytes)]
    if launch.dtype == "fp8":
        line += ["--quantization", "fp8", "--kv-cache-dtype", "fp8"]
    if launch.can_sleep:
        line += ["--enable-sleep-mode"]
    if launch.eager:
        line += ["--enforce-eager"]
    if launch.speculation is not None:
        line += ["--speculative-config", json.dumps(launch.speculation)]
    return [*line, *launch.extra]


def environment(inherited: dict[str, str], cache: Path) -> dict[str, str]:
    """The environment of a server: nothing is asked of anybody outside, compiled code lies in `cache`.

    Bytecode is kept, whatever is inherited: without it a start imports for half a minute longer.
    """
    kept = {name: value for name, value in inherited.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; read on CPUs only
        **kept,
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_SERVER_DEV_MODE": "1",  # /sleep and /wake_up; it listens on the loopback interface only
        "VLLM_CACHE_ROOT": str(cache),
    }


def speculation_of(method: str, folders: Folders, *, emulated: bool) -> dict[str, Any] | None:
    """What `--speculative-config` is for a method; None for `off`.

    Args:
        method: One of METHODS.
        folders: Of the models.
        emulated: As many tokens are accepted as ACCEPTED_LENGTH says, whatever they are.

    Raises:
        ValueError: it cannot run with this model; the message says why.
    """
    lookup = {"num_speculative_tokens": 4, "prompt_lookup_min": 2, "prompt_lookup_max": 5}
    chosen: dict[str, dict[str, Any]] = {
        "ngram": lookup,
        "ngram_gpu": lookup,
        "suffix": {
            "num_speculative_tokens": 8,
            "suffix_decoding_max_tree_depth": 24,
            "suffix_decoding_min_token_prob": 0.1,
        },
        "draft_model": {"model": str(folders.draft), "num_speculative_tokens": 3},
        "eagle3": {"model": str(folders.head), "num_speculative_tokens": 3},
    }
    if method == "off":
        return None
    if method == "mtp":
        raise ValueError("a model of this shape has no layers that predict several tokens")
    if method == "eagle3" and folders.head is None:
        raise ValueError("there is no EAGLE-3 head for this model")
    config = {"method": method, **chosen[method]}
    if emulated:
        config |= {
            "rejection_sample_method": "synthetic",
            "synthetic_acceptance_length": ACCEPTED_LENGTH,
        }
    return config


@dataclass(frozen=True, slots=True)
class Room:
    """What fits into a GPU: KV of the servers that are alone, and how many servers of methods at once."""

    kv_bytes: int
    at_once: int


def room_on(memory_bytes: int, weights_bytes: int, at_once: int) -> Room:
    """How much a GPU of that size takes: KV_BYTES and `at_once` servers at most."""
    own_bytes = weights_bytes + OTHER_BYTES
    kv_bytes = min(KV_BYTES, max(memory_bytes - own_bytes, MIN_KV_BYTES))
    return Room(kv_bytes, max(1, min(at_once, memory_bytes // (own_bytes + FEW_KV_BYTES))))


@dataclass(frozen=True, slots=True)
class Job:
    """One server, and what is measured on it. `is_main` for the one on which all levels are."""

    launch: Launch
    sections: tuple[Section, ...]
    method: str = "off"
    is_main: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line.

    Attributes:
        sections: To be measured.
        methods: Of speculation.
        dtypes: Of weights.
        first: The server that others are made from.
    """

    sections: frozenset[str]
    methods: tuple[str, ...]
    dtypes: tuple[str, ...]
    first: Launch


@dataclass(frozen=True, slots=True)
class Plan:
    """The servers of one run, in the order of what matters most, and what cannot be run: name -> reason."""

    jobs: tuple[Job, ...]
    left_out: dict[str, str]


def plan_llm(wish: Wish, folders: Folders) -> Plan:
    """The servers of the part `llm`.

    Each kind of weights has a server of its own; the first also starts with nothing compiled, is left alone
    for the heartbeat, and is what speculation is compared with. The last start finds everything compiled.
    """
    jobs, left_out = list[Job](), dict[str, str]()
    for n, dtype in enumerate(wish.dtypes):
        launch = replace(wish.first, name=dtype, dtype=dtype, can_sleep=n > 0)
        of_first: tuple[Section, ...] = ("cold", "ttft", "speculation", "heartbeat")
        of_others: tuple[Section, ...] = ("cold", "ttft", "sleep")
        jobs.append(_job(launch, of_first if n == 0 else of_others, wish, is_main=n == 0))
    if "sleep" in wish.sections and len(wish.dtypes) == 1:
        jobs.append(
            _job(replace(wish.first, name="sleep", dtype=wish.dtypes[0], can_sleep=True), ("sleep",), wish)
        )
    if "speculation" in wish.sections:
        for method in wish.methods:
            if method == "off":
                continue
            try:
                config = speculation_of(method, folders, emulated=wish.first.emulates)
            except ValueError as reason:
                left_out[method] = str(reason)
                continue
            launch = replace(
                wish.first,
                name=method,
                dtype=wish.dtypes[0],
                speculation=config,
                kv_bytes=min(FEW_KV_BYTES, wish.first.kv_bytes),
            )
            jobs.append(Job(launch, ("speculation",), method))
    if "cold" in wish.sections:
        jobs.append(Job(replace(wish.first, name="compiled", dtype=wish.dtypes[0]), ("cold",)))
    return Plan(tuple(job for job in jobs if job.sections), left_out)


def _job(launch: Launch, sections: tuple[Section, ...], wish: Wish, *, is_main: bool = False) -> Job:
    """What of the sections is wanted; none if that is only the start of a server that is not the main one."""
    wanted = tuple(section for section in sections if section in wish.sections)
    return Job(launch, wanted if is_main or set(wanted) - {"cold"} else (), is_main=is_main)


def groups(jobs: Sequence[Job], at_once: int) -> list[tuple[Job, ...]]:
    """Which servers start together: those of methods of speculation, so many at once. Others are alone."""
    found: list[list[Job]] = []
    for job in jobs:
        shares = job.method != "off"
        if found and shares and found[-1][0].method != "off" and len(found[-1]) < at_once:
            found[-1].append(job)
        else:
            found.append([job])
    return [tuple(group) for group in found]
