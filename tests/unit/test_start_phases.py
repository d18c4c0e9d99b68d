"""Where the time of a start went, read off logs of real servers. Their own stamps say when a line came."""

import re
from pathlib import Path

import pytest

from voicestack.engines.start_phases import Line, phases_s, tells, took

LOGS = Path(__file__).parents[1] / "data" / "start_logs"
SPAWNED_S = 4.0
"""The first word of the recorded vLLM came so long after its process was spawned."""


def read_vllm(name: str) -> list[Line]:
    lines: list[Line] = []
    began_s = at_s = 0.0
    for text in (LOGS / name).read_text().splitlines():
        if found := re.search(r" (\d\d):(\d\d):(\d\d) \[", text):
            hours, minutes, seconds = map(int, found.groups())
            at_s = hours * 3600 + minutes * 60 + seconds
            began_s = began_s or at_s - SPAWNED_S
        lines.append(Line(at_s - began_s, text))
    return lines


def read_llama(name: str) -> list[Line]:
    stamps = re.compile(r"(\d+)\.(\d\d)\.(\d\d\d)\.(\d\d\d) ")
    lines = []
    for text in (LOGS / name).read_text().splitlines():
        minutes, seconds, ms, us = map(int, stamps.match(text).groups())  # type: ignore[union-attr]
        lines.append(Line(minutes * 60 + seconds + ms / 1e3 + us / 1e6, text))
    return lines


def test_vllm_on_a_cpu() -> None:
    found = phases_s(read_vllm("vllm_cpu_0.32_eager.log"), ready_s=68.0)
    assert found == pytest.approx(
        {
            "import": 4.0,
            "configure": 34.0,
            "engine": 21.0,
            "weights": 1.0,
            "memory": 5.0,
            "listen": 3.0,
            "total": 68.0,
        }
    )


def test_llama_server() -> None:
    found = phases_s(read_llama("llama_server_0.3.36.log"), ready_s=0.26)
    assert list(found) == ["import", "configure", "engine", "weights", "memory", "listen", "total"]
    assert found["weights"] == pytest.approx(0.2466, abs=1e-3)
    assert sum(found.values()) == pytest.approx(2 * 0.26)


# How vLLM 0.32 words what only happens on a GPU, or with torch.compile (its source: compilation/monitor.py,
# v1/engine/core.py, v1/worker/gpu_model_runner.py). 0.26 says "takes".
GPU = [
    Line(5.0, "INFO 11-28 14:00:05 [api_utils.py:347]"),
    Line(9.0, "INFO 11-28 14:00:09 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: x"),
    Line(12.0, "INFO 11-28 14:00:12 [gpu_model_runner.py:4879] Starting to load model x..."),
    Line(15.0, "INFO 11-28 14:00:15 [default_loader.py:501] Loading weights took 2.80 seconds"),
    Line(16.0, "INFO 11-28 14:00:16 [gpu_model_runner.py:5150] Model loading took 15.2 GiB memory and 3.9 s"),
    Line(24.0, "INFO 11-28 14:00:24 [backends.py:1167] Dynamo bytecode transform time: 3.10 s"),
    Line(28.0, "INFO 11-28 14:00:28 [monitor.py:53] torch.compile took 10.50 s in total"),
    Line(
        40.0,
        "INFO 11-28 14:00:40 [gpu_model_runner.py:6582] Graph capturing finished in 11 secs, took 0.9 GiB",
    ),
    Line(
        42.0,
        "INFO 11-28 14:00:42 [core.py:394] init engine (profile, create kv cache, warmup model) took 26.0 s "
        "(compilation: 10.50 s)",
    ),
]


def test_vllm_on_a_gpu() -> None:
    found = phases_s(GPU, ready_s=44.0)
    assert found == pytest.approx(
        {
            "import": 5.0,
            "configure": 4.0,
            "engine": 3.0,
            "weights": 4.0,  # processing them included
            "compile": 10.5,
            "graphs": 11.0,
            "memory": 4.5,
            "listen": 2.0,
            "total": 44.0,
        }
    )


def test_on_the_way_there_is_what_was_reached() -> None:
    assert phases_s(GPU[:3], ready_s=None) == {"import": 5.0, "configure": 4.0, "engine": 3.0}
    assert phases_s([], ready_s=None) == {}


def test_a_process_that_says_nothing_has_a_total() -> None:
    assert phases_s([], ready_s=0.3) == {"total": 0.3}


def test_what_is_told_is_never_more_than_there_was() -> None:
    hasty = [Line(line.at_s / 10, line.text) for line in GPU]
    found = phases_s(hasty, ready_s=4.4)
    assert all(value_s >= 0 for value_s in found.values())
    assert sum(found.values()) == pytest.approx(2 * 4.4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torch.compile takes 7.51 s in total", ("compile", 7.51)),
        ("eagle_head torch.compile took 1.20 s in total", ("compile", 1.2)),
        ("Graph capturing finished in 17 secs, took 0.48 GiB", ("graphs", 17.0)),
        ("Encoder graph capturing finished in 17 secs, took 0.48 GiB (3 graphs)", None),
        ("GPU KV cache size: 613,024 tokens", None),
    ],
)
def test_durations_in_words(text: str, expected: tuple[str, float] | None) -> None:
    assert took(text) == expected


def test_only_lines_of_phases_are_kept() -> None:
    assert not tells("INFO 11-28 14:02:58 [launcher.py:195] Route: /health, Methods: GET")
    assert all(tells(line.text) for line in GPU[1:5])
