"""Is vLLM started with what was configured, and with nothing that it does not know?"""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from voicestack.config.vllm import VllmSection
from voicestack.engines.speculation import by_load, speculative_config
from voicestack.engines.vllm_command import (
    Installed,
    Line,
    Place,
    command,
    environment,
    flags_of,
    parser_of,
    queued_tokens,
    version_of,
)

PLACE = Place("/opt/vllm/bin/python", "/models/qwen3-8b", Path("/run/v.sock"), 8192)
HELP = """
  --model MODEL         Name or path of the Hugging Face model to use.
  --max-model-len MAX_MODEL_LEN
  --max-num-seqs MAX_NUM_SEQS
  --max-num-batched-tokens MAX_NUM_BATCHED_TOKENS
  --enable-prefix-caching, --no-enable-prefix-caching
  --enable-chunked-prefill, --no-enable-chunked-prefill
  --quantization QUANTIZATION, -q QUANTIZATION
  --kv-cache-dtype {auto,fp8}
  --scheduling-policy {fcfs,priority}
  --performance-mode {balanced,interactivity,throughput}
  --max-num-queued-reqs MAX_NUM_QUEUED_REQS
  --max-num-queued-tokens MAX_NUM_QUEUED_TOKENS
                        ``data-parallel--size`` is no option, nor is pre--fix
  --tensor-parallel-size TENSOR_PARALLEL_SIZE, -tp TENSOR_PARALLEL_SIZE
  --gpu-memory-utilization X, --device-memory-utilization X
  --speculative-config SPECULATIVE_CONFIG, -sc SPECULATIVE_CONFIG
  --enable-lora, --no-enable-lora
  --max-loras MAX_LORAS
  --lora-modules LORA_MODULES [LORA_MODULES ...]
  --enable-auto-tool-choice, --no-enable-auto-tool-choice
  --tool-call-parser {hermes,mistral}
  --tool-strict-level {auto,function,parameter}
  --generation-config GENERATION_CONFIG
  --enforce-eager, --no-enforce-eager
  --enable-prompt-tokens-details, --no-enable-prompt-tokens-details
  --disable-uvicorn-access-log, --no-disable-uvicorn-access-log
"""
NEW = Installed((0, 33, 0), flags_of(HELP))
OLD = Installed(
    (0, 26, 0),
    NEW.flags - {"--max-num-queued-reqs", "--max-num-queued-tokens", "--tool-strict-level"},
)


def line(installed: Installed = NEW, place: Place = PLACE, **changes: Any) -> Line:
    return command(VllmSection(**changes), place, installed)


def value(said: Line, flag: str) -> str:
    return said.words[said.words.index(flag) + 1]


def test_the_flags_of_a_help_text() -> None:
    assert {"--model", "--no-enable-prefix-caching", "--device-memory-utilization"} <= NEW.flags
    assert not [flag for flag in NEW.flags if flag.endswith("-") or "size`" in flag]
    assert "--size" not in NEW.flags
    assert "--fix" not in NEW.flags


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("0.32.0", (0, 32, 0)),
        ("0.33.1rc2.dev5+g12", (0, 33, 1)),
        ("1.0", (1, 0, 0)),
        ("unknown", (0, 0, 0)),
        ("", (0, 0, 0)),
    ],
)
def test_versions(text: str, version: tuple[int, int, int]) -> None:
    assert version_of(text) == version


def test_what_makes_it_quick_is_always_there() -> None:
    said = line()
    assert said.words[:3] == ("/opt/vllm/bin/python", "-m", "vllm.entrypoints.openai.api_server")
    assert value(said, "--model") == "/models/qwen3-8b"
    assert value(said, "--uds") == "/run/v.sock"
    assert value(said, "--max-model-len") == "8192"
    assert value(said, "--performance-mode") == "interactivity"
    assert value(said, "--scheduling-policy") == "priority"
    assert value(said, "--generation-config") == "vllm"
    assert {"--enable-prefix-caching", "--enable-chunked-prefill"} <= set(said.words)
    assert said.left_out == ()


def test_what_nobody_asked_for_is_not_there() -> None:
    for flag in (
        "--quantization",
        "--kv-cache-dtype",
        "--tensor-parallel-size",
        "--speculative-config",
        "--enable-lora",
        "--enforce-eager",
        "--no-enable-prefix-caching",
        "--max-num-queued-tokens",
    ):
        assert flag not in line().words


def test_fp8_and_several_gpus() -> None:
    said = line(weights="fp8", kv="fp8", tensor_parallel=2, gpu_memory_ratio=0.45)
    assert value(said, "--quantization") == "fp8"
    assert value(said, "--kv-cache-dtype") == "fp8"
    assert value(said, "--tensor-parallel-size") == "2"
    assert value(said, "--gpu-memory-utilization") == "0.45"


def test_prefix_caching_can_be_switched_off() -> None:
    said = line(prefix_caching=False)
    assert "--no-enable-prefix-caching" in said.words
    assert "--enable-prefix-caching" not in said.words


def test_an_old_one_is_started_without_what_it_does_not_know() -> None:
    said = line(OLD, prefill_tokens_per_s=20_000)
    assert set(said.left_out) == {"--max-num-queued-reqs", "--max-num-queued-tokens", "--tool-strict-level"}
    assert not set(said.left_out) & set(said.words)
    assert "parameter" not in said.words  # the value goes with its flag
    assert value(said, "--tool-call-parser") == "hermes"


def test_what_nothing_works_without_is_passed_unasked() -> None:
    said = line(Installed((0, 0, 0), frozenset()))
    assert {"--model", "--uds", "--served-model-name", "--max-model-len"} <= set(said.words)
    assert "--scheduling-policy" in said.left_out


def test_extra_arguments_come_last_as_they_are() -> None:
    said = line(extra=["--block-size", "32"])
    assert said.words[-2:] == ("--block-size", "32")


def test_a_line_can_be_pasted_into_a_shell() -> None:
    assert '\'{"method": "ngram"' in str(line(speculation="ngram"))


# --- admission --------------------------------------------------------------------------------------------


def test_what_waits_is_bounded_beside_what_is_computed() -> None:
    assert value(line(max_requests=64, queue_requests=32), "--max-num-queued-reqs") == "96"


def test_prompts_wait_for_the_target_at_most() -> None:
    section = VllmSection(target_first_token_ms=500, prefill_tokens_per_s=40_000)
    assert queued_tokens(section, PLACE) == 20_000
    assert value(command(section, PLACE, NEW), "--max-num-queued-tokens") == "20000"


def test_a_measured_rate_counts_until_one_is_configured() -> None:
    measured = Place("python", "m", Path("s"), 2048, prefill_tokens_per_s=10_000)
    assert queued_tokens(VllmSection(target_first_token_ms=300), measured) == 3_000
    section = VllmSection(target_first_token_ms=300, prefill_tokens_per_s=50_000)
    assert queued_tokens(section, measured) == 15_000


def test_one_whole_prompt_is_always_let_in() -> None:
    slow = Place("python", "m", Path("s"), 2048, prefill_tokens_per_s=100)
    assert queued_tokens(VllmSection(), slow) == 2048


# --- speculation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "has"),
    [
        ({"speculation": "ngram"}, {"prompt_lookup_min": 2, "prompt_lookup_max": 5}),
        ({"speculation": "ngram_gpu"}, {"prompt_lookup_max": 5}),
        ({"speculation": "suffix", "speculation_tokens": 8}, {"num_speculative_tokens": 8}),
        ({"speculation": "mtp", "speculation_tokens": 1}, {"num_speculative_tokens": 1}),
    ],
)
def test_methods_without_a_model(changes: dict[str, Any], has: dict[str, Any]) -> None:
    said = json.loads(value(line(**changes), "--speculative-config"))
    assert said["method"] == changes["speculation"]
    assert said.items() >= has.items()
    assert "model" not in said


@pytest.mark.parametrize("method", ["draft_model", "eagle3"])
def test_methods_with_a_model(method: Any) -> None:
    place = Place("python", "m", Path("s"), 2048, draft="/models/draft")
    section = VllmSection(speculation=method, speculation_model="draft", tensor_parallel=2)
    said = json.loads(value(command(section, place, NEW), "--speculative-config"))
    assert said["model"] == "/models/draft"
    assert ("draft_tensor_parallel_size" in said) == (method == "draft_model")
    with pytest.raises(ValidationError, match=r"is needed when"):
        VllmSection(speculation=method)


def test_no_speculation_is_no_flag() -> None:
    assert speculative_config(VllmSection(), (0, 33, 0)) is None


def test_drafts_get_shorter_with_load() -> None:
    assert by_load(5, 512) == [[1, 8, 5], [9, 32, 2], [33, 512, 0]]
    assert by_load(4, 20) == [[1, 8, 4], [9, 20, 2]]
    assert by_load(1, 64) == [[1, 8, 1], [9, 64, 0]]
    assert by_load(3, 4) == [[1, 4, 3]]


def test_every_load_has_exactly_one_length() -> None:
    for n_tokens in range(1, 10):
        for most in range(1, 70):
            steps = by_load(n_tokens, most)
            covered = [n for start, end, _ in steps for n in range(start, end + 1)]
            assert covered == list(range(1, most + 1))
            lengths = [tokens for _, _, tokens in steps]
            assert lengths == sorted(lengths, reverse=True)


def test_load_is_told_only_to_versions_that_take_it() -> None:
    section = VllmSection(speculation="ngram")
    key = "num_speculative_tokens_per_batch_size"
    assert key in (speculative_config(section, (0, 26, 0)) or {})
    assert key not in (speculative_config(section, (0, 25, 1)) or {})
    assert key not in (speculative_config(section, (0, 0, 0)) or {})
    constant = VllmSection(speculation="ngram", speculation_by_load=False)
    assert key not in (speculative_config(constant, (0, 33, 0)) or {})
    few = VllmSection(speculation="ngram", max_requests=4)
    assert key not in (speculative_config(few, (0, 33, 0)) or {})


# --- adapters, calls, environment -------------------------------------------------------------------------


def test_adapters_are_loaded_by_name() -> None:
    said = line(loras={"sales": "/adapters/sales", "support": "/adapters/support"})
    at = said.words.index("--lora-modules")
    modules = [json.loads(word) for word in said.words[at + 1 : at + 3]]
    assert modules == [
        {"name": "sales", "path": "/adapters/sales"},
        {"name": "support", "path": "/adapters/support"},
    ]
    assert value(said, "--max-loras") == "2"
    assert "--enable-lora" in said.words


@pytest.mark.parametrize(
    ("model", "parser"),
    [
        ("/models/qwen3-8b", "hermes"),
        ("/models/Qwen3-Coder-30B", "qwen3_coder"),
        ("/models/Llama_3.1-8B-Instruct", "llama3_json"),
        ("/models/mistral-small", "mistral"),
        ("/qwen/else", ""),
    ],
)
def test_the_parser_of_calls_comes_from_the_name(model: str, parser: str) -> None:
    assert parser_of(model) == parser


def test_without_a_parser_calls_are_not_announced() -> None:
    place = Place("python", "/models/else", Path("s"), 2048)
    assert "--enable-auto-tool-choice" not in line(place=place).words
    said = line(place=place, tool_parser="mistral")
    assert value(said, "--tool-call-parser") == "mistral"
    assert value(said, "--tool-strict-level") == "parameter"


def test_the_environment_is_ours_without_our_interpreters() -> None:
    ours = {"HOME": "/home/a", "PYTHONPATH": ".", "PYTHONDONTWRITEBYTECODE": "1", "CUDA_VISIBLE_DEVICES": "1"}
    env = environment(VllmSection(environment={"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "0"}), ours)
    assert env["HOME"] == "/home/a"
    assert env["CUDA_VISIBLE_DEVICES"] == "1"
    assert env["VLLM_NO_USAGE_STATS"] == "1"
    assert env["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert env["HF_HUB_OFFLINE"] == "0"  # who configures it wants it
    assert not {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"} & set(env)
