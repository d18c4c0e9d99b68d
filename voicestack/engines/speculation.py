"""How does vLLM write several tokens in one step? Its `--speculative-config`, from ours.

Speculation pays while the GPU waits for memory, and costs once it computes all the time: EAGLE-3 and its
kin gain 1.7 times at one reply and 1.05 times at 64 (vLLM's blog, 2026-03-13). So drafts get shorter as
more replies are computed at once.
"""

from typing import Any

from voicestack.config.vllm import VllmSection

Version = tuple[int, int, int]

BY_LOAD_SINCE: Version = (0, 26, 0)
"""The first version known to take `num_speculative_tokens_per_batch_size`."""
FULL_UP_TO, HALF_UP_TO = 8, 32
"""Replies at once, up to which drafts have their full length, and half of it."""
LOOKUP = {"prompt_lookup_min": 2, "prompt_lookup_max": 5}
"""n-grams shorter than 2 draft after every frequent word; vLLM's documentation goes up to 5."""


def speculative_config(section: VllmSection, version: Version, *, model: str = "") -> dict[str, Any] | None:
    """The JSON of `--speculative-config`; None without speculation.

    Args:
        section: What is configured.
        version: Of vLLM.
        model: Path of the draft model, for the methods that have one.
    """
    if section.speculation == "off":
        return None
    config: dict[str, Any] = {
        "method": section.speculation,
        "num_speculative_tokens": section.speculation_tokens,
    }
    if section.speculation in ("ngram", "ngram_gpu"):
        config |= LOOKUP
    if model:
        config["model"] = model
    if section.speculation == "draft_model":
        config["draft_tensor_parallel_size"] = section.tensor_parallel
    if section.speculation_by_load and version >= BY_LOAD_SINCE:
        steps = by_load(section.speculation_tokens, section.max_requests)
        if len(steps) > 1:
            config["num_speculative_tokens_per_batch_size"] = steps
    return config


def by_load(n_tokens: int, max_requests: int) -> list[list[int]]:
    """Lengths of drafts by replies computed at once: `[from, to, tokens]`, without gaps, from 1."""
    limits = [(FULL_UP_TO, n_tokens), (HALF_UP_TO, n_tokens // 2), (max_requests, 0)]
    steps: list[list[int]] = []
    start = 1
    for up_to, tokens in limits:
        end = min(up_to, max_requests)
        if end < start:
            break
        if steps and steps[-1][2] == tokens:
            steps[-1][1] = end
        else:
            steps.append([start, end, tokens])
        start = end + 1
    return steps
