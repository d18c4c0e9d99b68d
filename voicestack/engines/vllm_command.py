"""With which command line is vLLM started, for the model and the version that are here? Pure.

vLLM appears every two or three weeks, and its options come and go: one that the installed version does not
know is left out and named, never passed.
"""

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from voicestack.config.vllm import VllmSection
from voicestack.engines.speculation import Version, speculative_config
from voicestack.engines.vllm_sleep import SLEEP_ENVIRONMENT, SLEEP_FLAG

SERVER = "vllm.entrypoints.openai.api_server"
"""Not the console script `vllm`: builds for the processor have a broken one."""
NAME = "local"
"""What the model is called over the socket."""
PARSERS = (
    ("qwen3-coder", "qwen3_coder"),
    ("qwen", "hermes"),
    ("hermes", "hermes"),
    ("smollm", "hermes"),
    ("llama-4", "llama4_pythonic"),
    ("llama", "llama3_json"),
    ("mistral", "mistral"),
    ("mixtral", "mistral"),
    ("granite", "granite"),
    ("phi-4", "phi4_mini_json"),
    ("deepseek-v3", "deepseek_v3"),
    ("gpt-oss", "openai"),
)
"""What stands in a model's name, and the parser of its calls (vLLM's documentation, "Tool Calling")."""
OURS = frozenset({"PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"})
"""Of our interpreter, not of vLLM's. Without bytecode a start imports for 30 s longer."""
NEEDED = frozenset({"--model", "--served-model-name", "--uds", "--max-model-len"})
"""Passed without asking: nothing works without them."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A vLLM.

    Attributes:
        version: As far as it is numbers; zeros when unknown.
        flags: The options that it knows, as `--max-num-seqs`.
    """

    version: Version
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Place:
    """What is found on this machine.

    Attributes:
        python: The interpreter that has vLLM.
        model: Folder of the model.
        socket: Where it shall listen.
        context_tokens: Longest conversation with its answer.
        draft: Folder of the draft model; empty if there is none.
        prefill_tokens_per_s: How fast prompts are computed; 0 when nobody knows.
    """

    python: str
    model: str
    socket: Path
    context_tokens: int
    draft: str = ""
    prefill_tokens_per_s: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A command line, and the options that it should have had but the installed vLLM does not know."""

    words: tuple[str, ...]
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.words)


def command(section: VllmSection, place: Place, installed: Installed) -> Line:
    """The command line."""
    wanted = {
        "--model": [place.model],
        "--served-model-name": [NAME],
        "--uds": [str(place.socket)],
        "--max-model-len": [str(place.context_tokens)],
        **_engine(section),
        **_admission(section, place),
        **_speculation(section, place, installed),
        **_calls(section, place.model),
        **_adapters(section),
        **({SLEEP_FLAG: []} if section.spare else {}),
        # A model's own sampling defaults would change answers behind our back.
        "--generation-config": ["vllm"],
        "--enable-prompt-tokens-details": [],
        "--disable-uvicorn-access-log": [],
    }
    words, left_out = [place.python, "-m", SERVER], []
    for flag, values in wanted.items():
        if flag in installed.flags or flag in NEEDED:
            words += [flag, *values]
        else:
            left_out.append(flag)
    return Line((*words, *section.extra), tuple(left_out))


def environment(section: VllmSection, ours: Mapping[str, str]) -> dict[str, str]:
    """The environment: ours, without what belongs to our interpreter.

    vLLM loads files, never fetches any; it says nothing to its makers; its log goes where we read it.
    """
    inherited = {name: value for name, value in ours.items() if name not in OURS}
    told = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    }
    return inherited | told | (SLEEP_ENVIRONMENT if section.spare else {}) | section.environment


def flags_of(help_text: str) -> frozenset[str]:
    """The options in what `--help=all` prints."""
    return frozenset(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", help_text))


def version_of(text: str) -> Version:
    """`0.32.0+cpu`, `0.33.1rc2.dev5` -> numbers; zeros for what is none."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text.strip())
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else (0, 0, 0)


def parser_of(model: str) -> str:
    """The parser of a model's calls, by its name; empty if none is known."""
    name = Path(model).name.lower().replace("_", "-")
    return next((parser for part, parser in PARSERS if part in name), "")


def queued_tokens(section: VllmSection, place: Place) -> int | None:
    """How many tokens of prompts may wait: target x rate, and at least one whole prompt. None: no limit.

    vLLM counts prompts with what is cached of them, and so does the rate.
    """
    rate = section.prefill_tokens_per_s or place.prefill_tokens_per_s
    if rate == 0:
        return None
    return max(place.context_tokens, section.target_first_token_ms * rate // 1000)


def _engine(section: VllmSection) -> dict[str, list[str]]:
    flags: dict[str, list[str]] = {
        "--performance-mode": [section.performance_mode],
        "--scheduling-policy": ["priority"],
        "--max-num-seqs": [str(section.max_requests)],
        "--max-num-batched-tokens": [str(section.batch_tokens)],
        "--enable-chunked-prefill": [],
        "--gpu-memory-utilization": [str(section.gpu_memory_ratio)],
    }
    flags["--enable-prefix-caching" if section.prefix_caching else "--no-enable-prefix-caching"] = []
    if section.tensor_parallel > 1:
        flags["--tensor-parallel-size"] = [str(section.tensor_parallel)]
    if section.weights != "auto":
        flags["--quantization"] = [section.weights]
    if section.kv != "auto":
        flags["--kv-cache-dtype"] = [section.kv]
    if section.eager:
        flags["--enforce-eager"] = []
    return flags


def _admission(section: VllmSection, place: Place) -> dict[str, list[str]]:
    # What is computed counts as queued, too.
    flags = {"--max-num-queued-reqs": [str(section.max_requests + section.queue_requests)]}
    if (n_tokens := queued_tokens(section, place)) is not None:
        flags["--max-num-queued-tokens"] = [str(n_tokens)]
    return flags


def _speculation(section: VllmSection, place: Place, installed: Installed) -> dict[str, list[str]]:
    config = speculative_config(section, installed.version, model=place.draft)
    return {"--speculative-config": [json.dumps(config)]} if config else {}


def _calls(section: VllmSection, model: str) -> dict[str, list[str]]:
    parser = section.tool_parser or parser_of(model)
    if not parser:
        return {}
    # Arguments are decoded by their schema whenever a call is made, asked for or not.
    return {
        "--enable-auto-tool-choice": [],
        "--tool-call-parser": [parser],
        "--tool-strict-level": ["parameter"],
    }


def _adapters(section: VllmSection) -> dict[str, list[str]]:
    if not section.loras:
        return {}
    modules = [json.dumps({"name": name, "path": path}) for name, path in section.loras.items()]
    return {
        "--enable-lora": [],
        "--max-loras": [str(len(section.loras))],
        "--lora-modules": modules,
    }


def warning_of(left_out: Iterable[str]) -> str:
    """For people: what this vLLM cannot do."""
    return f"this vLLM does not know {', '.join(left_out)}: started without"
