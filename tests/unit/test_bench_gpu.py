"""The pure parts of `voicestack bench gpu`: what is started, asked, counted and printed."""

import argparse
import itertools
import math
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests.bench.gpu.bundle import download_command, pack, unpack
from voicestack.aio.clock import SystemClock
from voicestack.cli.bench_gpu import _counts, _names
from voicestack.cli.bench_gpu_host import Gpu, Host, read_gpus, vllm_version, why_not
from voicestack.cli.bench_gpu_load import arrivals_s
from voicestack.cli.bench_gpu_plan import (
    METHODS,
    PARTS,
    Job,
    Launch,
    Room,
    Wish,
    command_line,
    environment,
    groups,
    plan_llm,
    room_on,
    speculation_of,
)
from voicestack.cli.bench_gpu_prompts import (
    Script,
    prefix_of,
    prefix_words_for,
    prime_of,
    question_of,
    request_of,
)
from voicestack.cli.bench_gpu_record import Record
from voicestack.cli.bench_gpu_server import phases_of
from voicestack.cli.bench_gpu_sessions import Carried, Load, Turn, carried_of, schedule_s, sessions_of
from voicestack.cli.bench_gpu_shapes import SHAPES, Folders, config_of, draft_config_of, head_config_of
from voicestack.cli.bench_gpu_subject import drafted_between
from voicestack.cli.bench_gpu_table import markdown, table
from voicestack.cli.bench_gpu_tokenizer import SPECIALS, WORDS, vocabulary
from voicestack.cli.bench_gpu_trace import FULL, Trace, figures_of
from voicestack.cli.bench_stats import read_total
from voicestack.core.errors import ConfigError

FOLDERS = Folders(Path("/m/target"), Path("/m/draft"), Path("/m/eagle3"))
FIRST = Launch("first", FOLDERS.target, "cuda")
EVERYTHING = Wish(frozenset(PARTS["llm"]), METHODS, ("bf16", "fp8"), FIRST)


# --- models -------------------------------------------------------------------------------------------


def test_the_shapes_are_as_large_as_what_they_are_like() -> None:
    assert SHAPES["8b"].n_parameters == pytest.approx(8.03e9, rel=0.001)
    assert SHAPES["135m"].n_parameters == pytest.approx(134.5e6, rel=0.001)
    assert SHAPES["8b"].kv_bytes_per_token == 128 * 1024
    for shape in SHAPES.values():
        assert shape.hidden % shape.heads == 0
        assert shape.heads % shape.kv_heads == 0


def test_a_draft_has_the_vocabulary_of_its_target_and_a_head_its_width() -> None:
    target = config_of(SHAPES["8b"])
    draft, head = draft_config_of(SHAPES["8b"]), head_config_of(SHAPES["8b"])
    assert draft["vocab_size"] == head["vocab_size"] == target["vocab_size"]
    assert draft["hidden_size"] < target["hidden_size"] == head["hidden_size"]
    assert (head["num_hidden_layers"], head["draft_vocab_size"]) == (1, 32_000)
    with pytest.raises(ConfigError, match="no EAGLE-3 head"):
        head_config_of(SHAPES["0.6b"])


def test_every_token_is_a_word_and_each_is_there_once() -> None:
    tokens = vocabulary(20_000)
    assert list(tokens.values()) == list(range(20_000))
    assert list(tokens)[: len(SPECIALS)] == list(SPECIALS)
    assert set(WORDS) < set(tokens)
    ends = [token[-1] for token in tokens if token not in SPECIALS]
    assert 0.05 < ends.count(".") / len(ends) < 0.12
    assert 0.05 < ends.count(",") / len(ends) < 0.12


def test_a_text_becomes_the_tokens_that_it_was_made_of(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    from voicestack.cli.bench_gpu_tokenizer import write_tokenizer

    write_tokenizer(tmp_path, 5000)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = [4999, 300, 17, 1234, 4000]
    assert tokenizer.encode(tokenizer.decode(ids)).ids == ids
    assert tokenizer.encode("<|user|> time <|end|>").ids == [4, tokenizer.token_to_id("time"), 2]


# --- prompts ------------------------------------------------------------------------------------------


def test_prompts_share_nothing_but_the_system_prompt() -> None:
    script = Script(seed=1, prefix_words=50, reply_tokens=8)
    requests = [request_of(script, n) for n in range(2000)]
    assert {request.messages[0] for request in requests} == {requests[0].messages[0]}
    questions = [request.messages[-1].text for request in requests]
    assert len({" ".join(question.split()[:4]) for question in questions}) == len(questions)
    assert len({request.session for request in requests}) == len(requests)
    assert all(request.max_tokens == 8 for request in requests)


def test_the_same_script_writes_the_same_and_another_seed_another() -> None:
    script = Script(seed=1, prefix_words=50, reply_tokens=8)
    other = replace(script, seed=2)
    assert request_of(script, 7) == request_of(script, 7)
    assert prefix_of(script) != prefix_of(other)
    assert question_of(script, 7) != question_of(other, 7)
    assert prime_of(script, 7).messages[1:] != request_of(script, 7).messages[1:]


def test_an_earlier_answer_stands_in_the_prompt() -> None:
    script = Script(seed=1, prefix_words=5, reply_tokens=8, said_before="as I said")
    roles = [message.role for message in request_of(script, 1).messages]
    assert roles == ["system", "user", "agent", "user"]


def test_the_system_prompt_is_as_long_as_it_has_to_be() -> None:
    assert prefix_words_for(1000, probe_words=200, probe_tokens=270, empty_tokens=10) == 769
    assert prefix_words_for(1000, probe_words=200, probe_tokens=0, empty_tokens=0) > 0


# --- what is started ----------------------------------------------------------------------------------


def test_the_command_line_on_a_gpu() -> None:
    speculation = speculation_of("eagle3", FOLDERS, emulated=True)
    launch = replace(FIRST, dtype="fp8", can_sleep=True, speculation=speculation)
    line = command_line(("python", "-m", "vllm.x"), launch, 8001)
    assert line[:3] == ["python", "-m", "vllm.x"]
    options = dict(itertools.pairwise(line))
    assert options["--model"] == "/m/target"
    assert options["--load-format"] == "dummy"
    assert options["--performance-mode"] == "interactivity"
    assert options["--quantization"] == options["--kv-cache-dtype"] == "fp8"
    assert "--enable-sleep-mode" in line
    assert orjson.loads(options["--speculative-config"]) == {
        "method": "eagle3",
        "model": "/m/eagle3",
        "num_speculative_tokens": 3,
        "rejection_sample_method": "synthetic",
        "synthetic_acceptance_length": 2.5,
    }


def test_the_command_line_on_a_cpu_with_weights() -> None:
    line = command_line(("vllm",), replace(FIRST, device="cpu", random_weights=False, eager=True), 8001)
    assert "--enforce-eager" in line
    assert not {"--load-format", "--performance-mode", "--kv-cache-memory-bytes"} & set(line)


def test_a_server_asks_nobody_outside() -> None:
    found = environment({"PATH": "/bin", "HF_HUB_OFFLINE": "0", "PYTHONDONTWRITEBYTECODE": "1"}, Path("/c"))
    assert "PYTHONDONTWRITEBYTECODE" not in found
    assert (found["PATH"], found["HF_HUB_OFFLINE"], found["VLLM_CACHE_ROOT"]) == ("/bin", "1", "/c")


def test_every_method_of_speculation_has_a_configuration_or_a_reason() -> None:
    assert speculation_of("off", FOLDERS, emulated=True) is None
    for method in METHODS[1:-1]:
        config = speculation_of(method, FOLDERS, emulated=True)
        assert config is not None
        assert (config["method"], config["synthetic_acceptance_length"]) == (method, 2.5)
        real = speculation_of(method, FOLDERS, emulated=False)
        assert real is not None
        assert "rejection_sample_method" not in real
    with pytest.raises(ValueError, match="several tokens"):
        speculation_of("mtp", FOLDERS, emulated=True)
    with pytest.raises(ValueError, match="no EAGLE-3"):
        speculation_of("eagle3", replace(FOLDERS, head=None), emulated=True)


def test_what_matters_most_is_measured_first_and_alone() -> None:
    plan = plan_llm(EVERYTHING, FOLDERS)
    names = [job.launch.name for job in plan.jobs]
    assert names == ["bf16", "fp8", "ngram", "ngram_gpu", "suffix", "draft_model", "eagle3", "compiled"]
    assert plan.jobs[0].sections == ("cold", "ttft", "speculation", "heartbeat")
    assert plan.jobs[1].sections == ("cold", "ttft", "sleep")
    assert plan.jobs[1].launch.can_sleep
    assert [job.is_main for job in plan.jobs] == [True, *[False] * 7]
    assert list(plan.left_out) == ["mtp"]
    assert [len(group) for group in groups(plan.jobs, 5)] == [1, 1, 5, 1]
    warm = plan_llm(replace(EVERYTHING, sections=frozenset({"ttft", "speculation"})), FOLDERS)
    assert [len(group) for group in groups(warm.jobs, 5)] == [1, 1, 5]
    grouped = [[job.launch.name for job in group] for group in groups(plan.jobs, 3)]
    assert grouped == [
        ["bf16"],
        ["fp8"],
        ["ngram", "ngram_gpu", "suffix"],
        ["draft_model", "eagle3"],
        ["compiled"],
    ]


@pytest.mark.parametrize(
    ("sections", "dtypes", "expected"),
    [
        ({"ttft"}, ("bf16",), [("bf16", ("ttft",))]),
        ({"sleep"}, ("bf16",), [("sleep", ("sleep",))]),
        ({"cold"}, ("bf16", "fp8"), [("bf16", ("cold",)), ("compiled", ("cold",))]),
        ({"speculation"}, ("fp8",), [("fp8", ("speculation",)), ("ngram", ("speculation",))]),
    ],
)
def test_only_what_was_asked_for_is_started(
    sections: set[str], dtypes: tuple[str, ...], expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    plan = plan_llm(Wish(frozenset(sections), ("off", "ngram"), dtypes, FIRST), FOLDERS)
    assert [(job.launch.name, job.sections) for job in plan.jobs] == expected
    assert all(job.launch.dtype == dtypes[0] for job in plan.jobs)


def test_five_servers_of_the_methods_fit_into_an_h200_and_fewer_into_less() -> None:
    weights_bytes = 2 * SHAPES["8b"].n_parameters
    assert room_on(143_771 * 2**20, weights_bytes, 5) == Room(14 * 2**30, 5)
    for gib, n_expected in ((80, 3), (48, 1), (24, 1)):
        room = room_on(gib * 2**30, weights_bytes, 5)
        assert room.at_once == n_expected
        assert room.kv_bytes + weights_bytes < gib * 2**30
    methods = [job.launch for job in plan_llm(EVERYTHING, FOLDERS).jobs if job.method != "off"]
    turns_bytes = 16 * 1200 * SHAPES["8b"].kv_bytes_per_token
    assert all(launch.kv_bytes > 2 * turns_bytes for launch in methods)
    assert room_on(8 * 2**30, weights_bytes, 5).at_once == 1


def test_names_and_numbers_on_the_command_line() -> None:
    assert _names(METHODS)("off,suffix") == ("off", "suffix")
    assert _counts("16,1") == (16, 1)
    for read, wrong in ((_names(METHODS), "of"), (_counts, "0"), (_counts, "a"), (_counts, "")):
        with pytest.raises(argparse.ArgumentTypeError, match=r"none of|no numbers"):
            read(wrong)


# --- the machine --------------------------------------------------------------------------------------


def test_gpus_are_read_off_what_the_driver_prints() -> None:
    assert read_gpus("NVIDIA H200, 580.1, 143771\nNVIDIA H200, 580.1, 143771\n")[0] == Gpu(
        "NVIDIA H200", "580.1", 143_771 * 2**20
    )
    assert read_gpus("NVIDIA-SMI has failed because it could not communicate") == []


def test_the_reason_for_measuring_nothing() -> None:
    gpu = Gpu("H200", "1", 2)
    assert why_not("cuda", gpu, "0.26.0") is None
    assert why_not("cpu", None, "0.32.0") is None
    assert "no CUDA device" in (why_not("cuda", None, None) or "")
    assert "vLLM cannot be imported" in (why_not("cuda", gpu, None) or "")


def test_a_python_that_is_not_there_has_no_vllm() -> None:
    assert vllm_version(("/nowhere/python", "-m", "vllm")) is None


def test_the_phases_of_a_start_add_up() -> None:
    lines = [
        (900.0, "INFO vLLM API server version 0.26.0"),
        (1500.0, "INFO Initializing a V1 LLM engine (v0.26.0)"),
        (4000.0, "INFO Starting to load model /m"),
        (4200.0, "INFO Model loading took 15.0 GiB memory and 0.2 seconds"),
        (9200.0, "INFO torch.compile took 5.00 s in total"),
        (9300.0, "INFO GPU KV cache size: 100 tokens"),
        (12300.0, "INFO Graph capturing finished in 3 secs, took 0.50 GiB"),
        (12400.0, "INFO init engine (profile, create kv cache, warmup model) took 8.00 s"),
    ]
    phases = phases_of(lines, 13_000.0)
    assert sum(phase.took_ms for phase in phases) == pytest.approx(13_000.0)
    took_ms = {phase.name: phase.took_ms for phase in phases}
    parts = [took_ms["compile"], took_ms["graphs"], took_ms["listen"]]
    assert parts == pytest.approx([5000.0, 3000.0, 600.0])
    assert phases_of([], 100.0) == []


# --- the bundle for a host without network ---


def test_a_wheel_is_unpacked_without_what_does_not_travel(tmp_path: Path) -> None:
    wheel = tmp_path / "x-1-py3-none-any.whl"
    members = {
        "vllm/__init__.py": b"1",
        "vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so": b"2",
        "vllm/vllm_flash_attn/_vllm_fa3_C.abi3.so": b"3",
        "vllm/third_party/deep_gemm/a.h": b"4",
        "x/tests/test_x.py": b"5",
        "x-1.data/purelib/x/y.py": b"6",
        "x-1.data/scripts/x": b"7",
        "x-1.dist-info/METADATA": b"8",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    site = tmp_path / "site"
    unpack([wheel], site)
    found = {str(p.relative_to(site)): p.read_bytes() for p in site.rglob("*") if p.is_file()}
    assert found == {
        "vllm/__init__.py": b"1",
        "vllm/vllm_flash_attn/_vllm_fa3_C.abi3.so": b"3",
        "x/y.py": b"6",
        "x-1.dist-info/METADATA": b"8",
    }
    size = pack(tmp_path / "a.tar.xz", site, [site / "x" / "y.py"])
    assert size == (tmp_path / "a.tar.xz").stat().st_size
    with tarfile.open(tmp_path / "a.tar.xz") as tar:
        assert tar.getnames() == ["x/y.py"]


def test_wheels_are_those_of_the_other_python() -> None:
    line = download_command(["vllm==0.26.0"], Path("/w"), alone=True)
    assert line[-2:] == ["--no-deps", "vllm==0.26.0"]
    assert line[line.index("--python-version") + 1] == "3.12"
    assert "--no-deps" not in download_command(["rich"], Path("/w"), alone=False)


# --- what is counted ----------------------------------------------------------------------------------


def trace(n: int, first_ms: float | None = 10.0, **more: Any) -> Trace:
    found = Trace(n, "adapter", n * 10.0, n * 10.0 + 1, first_ms=first_ms)
    if first_ms is not None:
        found.clause_ms, found.done_ms = first_ms + 20, first_ms + 90
        found.gaps_ms, found.output_tokens = [10.0] * 9, 10
        found.input_tokens, found.cached_tokens = 100, 80
    else:
        found.done_ms, found.error = 5.0, FULL
    return replace(found, **more)


def test_a_refused_request_is_longer_than_every_answer() -> None:
    figures = figures_of([trace(n) for n in range(9)] + [trace(9, None)])
    assert (figures.n, figures.n_missing, figures.n_full, figures.errors) == (10, 1, 1, {FULL: 1})
    assert figures.ttft_ms is not None
    assert (figures.ttft_ms.p50, figures.ttft_ms.n_censored) == (10.0, 1)
    assert math.isinf(figures.ttft_ms.p99)
    assert figures.clause_ms is not None
    assert math.isinf(figures.clause_ms.p99)


def test_rates_and_shares() -> None:
    figures = figures_of([trace(n) for n in range(10)])
    span_s = (90 + 1 + 100 - 1) / 1e3
    assert figures.requests_per_s == pytest.approx(10 / span_s)
    assert figures.tokens_per_s == pytest.approx(100 / span_s)
    assert figures.mean_in_flight == pytest.approx(10 * 100 / (span_s * 1e3))
    assert figures.cached_share == pytest.approx(0.8)
    assert figures.pieces_per_token == pytest.approx(1.0)
    assert figures.tpot_ms is not None
    assert figures.tpot_ms.p50 == pytest.approx(10.0)
    assert figures.late_sent_ms is not None
    assert figures.late_sent_ms.max == 1.0


def test_late_and_broken_answers_are_counted_and_a_warm_up_is_not() -> None:
    traces = [
        trace(0, 301.0),
        trace(1, error="stage_unavailable"),
        trace(2, 1e6, is_warm_up=True),
        trace(3),
    ]
    figures = figures_of(traces)
    assert (figures.n, figures.n_late, figures.n_broken, figures.n_missing) == (3, 1, 1, 0)
    assert figures_of([]).ttft_ms is None


def test_arrivals_are_drawn_beforehand() -> None:
    starts = arrivals_s(10.0, 20.0, seed=3)
    assert starts == arrivals_s(10.0, 20.0, seed=3) != arrivals_s(10.0, 20.0, seed=4)
    assert (len(starts), starts[0]) == (200, 0.0)
    assert starts == sorted(starts)
    assert 12 < starts[-1] < 30


def metrics(n_drafts: int, n_tokens: int, n_accepted: int) -> str:
    return (
        "# HELP vllm:spec_decode_num_drafts_total Number of drafts\n"
        f'vllm:spec_decode_num_drafts_total{{engine="0",model_name="m"}} {n_drafts}.0\n'
        f'vllm:spec_decode_num_draft_tokens_total{{engine="0"}} {n_tokens}.0\n'
        f'vllm:spec_decode_num_accepted_tokens_total{{engine="0"}} {n_accepted}.0\n'
        f'vllm:spec_decode_num_accepted_tokens_per_pos_total{{position="0"}} 7.0\n'
    )


def test_what_speculation_comes_to() -> None:
    found = drafted_between(metrics(10, 30, 5), metrics(20, 60, 20))
    assert found == {"n_drafts": 10.0, "acceptance": 0.5, "accepted_length": 2.5}
    nothing = drafted_between("", "")
    assert nothing == {"n_drafts": 0, "acceptance": None, "accepted_length": None}


def test_a_counter_is_summed_over_its_labels() -> None:
    page = 'x_total{a="1"} 2.0\nx_total{a="2"} 3.5\nx_total_more 9\nx_total 1\n# x_total 7\n'
    assert read_total(page, "x_total") == 6.5
    assert read_total(page, "y") == 0


# --- sessions -----------------------------------------------------------------------------------------

UTTERANCE = np.zeros(48_000, np.int16)


def test_a_caller_speaks_for_his_share_of_the_time() -> None:
    load = Load(100, UTTERANCE, for_s=40.0)
    assert load.every_s == pytest.approx(20.0)
    assert load.turns_per_s == pytest.approx(5.0)
    starts = schedule_s(load)
    assert len(starts) == 200
    assert starts == sorted(starts) == schedule_s(load)
    assert max(starts) < 40.0
    assert sum(start < 20.0 for start in starts) == 100


def turn(voice_ms: float | None) -> Turn:
    if voice_ms is None:
        return Turn(0.0, error="timeout")
    return Turn(0.0, final_ms=voice_ms / 4, clause_ms=voice_ms / 2, voice_ms=voice_ms)


def test_a_level_passes_when_its_p95_does() -> None:
    load = Load(20, UTTERANCE, for_s=20.0)
    good = carried_of(load, [turn(200.0)] * 19 + [turn(900.0)])
    assert good.passes
    assert good.stages_ms["asr"] is not None
    assert (good.stages_ms["asr"].p50, good.n_missing) == (50.0, 0)
    late = carried_of(load, [turn(200.0)] * 18 + [turn(301.0)] * 2)
    missing = carried_of(load, [turn(200.0)] * 18 + [turn(None)] * 2)
    assert not late.passes
    assert not missing.passes
    assert (missing.n_missing, missing.errors) == (2, {"timeout": 2})
    assert not carried_of(load, []).passes


def test_sessions_are_counted_up_to_the_first_level_that_failed() -> None:
    def level(n_sessions: int, voice_ms: float) -> Carried:
        return carried_of(Load(n_sessions, UTTERANCE, for_s=20.0), [turn(voice_ms)])

    assert sessions_of([level(32, 100), level(64, 200), level(128, 500), level(256, 100)]) == 64
    assert sessions_of([level(64, 200), level(32, 100)]) == 64
    assert sessions_of([level(32, 500)]) == 0
    assert sessions_of([]) == 0


# --- the record and the tables ------------------------------------------------------------------------


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at_s = 100.0

    def now_ns(self) -> int:
        return round(self.at_s * 1e9)

    call_at = SystemClock.call_at


def test_the_record_is_complete_after_every_step(tmp_path: Path) -> None:
    clock, path = Hands(), tmp_path / "new" / "r.json"
    record = Record(path, clock=clock, budget_s=60.0, head={"date": "today"})
    assert orjson.loads(path.read_bytes())["date"] == "today"
    record.add("ttft", {"value": math.inf})
    assert orjson.loads(path.read_bytes())["ttft"] == [{"value": None}]
    assert record.has_time_for("short", 60.0)
    clock.at_s += 55.0
    assert not record.has_time_for("long", 6.0)
    assert orjson.loads(path.read_bytes())["not_run"] == {"long": "5 s were left of 60"}
    assert orjson.loads(path.read_bytes())["finished"] is False
    record.finish()
    assert orjson.loads(path.read_bytes())["took_s"] == 55.0
    assert list(tmp_path.rglob("*")) == [path.parent, path]


def document(*, gpu: Gpu | None, more: dict[str, Any]) -> Any:
    run = {"command": "voicestack bench gpu", "shape": "Llama-3.1-8B", "random_weights": True}
    head = {
        "date": "2026-11-28",
        "host": Host(gpu, "0.26.0", 2, "Xeon", "3.12"),
        "run": run | {"device": "cuda", "prefix_tokens": 1000, "reply_tokens": 64} | {"load_average": 0.5},
        "not_run": {"mtp": "no layers"},
        "failures": {"suffix": {"why": "no arctic", "tail": []}},
    }
    return orjson.loads(orjson.dumps(head | more))


def entry(level: int, first_ms: Sequence[float | None], **more: Any) -> dict[str, Any]:
    figures = figures_of([trace(n, ms) for n, ms in enumerate(first_ms)])
    named = {"server": "bf16", "dtype": "bf16", "loop": "closed", "turns": level, "client": "adapter"}
    named |= {"client_busy_ratio": 0.25}
    return named | {"figures": figures} | more


def test_the_tables_say_what_was_met_and_what_is_missing() -> None:
    h200 = Gpu("NVIDIA H200", "580", 143_771)
    levels = [entry(16, [20.0] * 99 + [90.0]), entry(1, [9.0, None])]
    text = markdown(document(gpu=h200, more={"ttft": levels, "sessions_per_gpu": 256}))
    assert "NVIDIA H200, driver 580, load average 0.5 before it, vLLM 0.26.0" in text
    assert "**random weights** in the shape of Llama-3.1-8B" in text
    assert "stopped before its end" in text
    assert "| bf16 | closed | 1 | adapter | 2 | 9.0 / > all / > all |" in text
    assert "first text p50 20.0 (target 25), p99 20.0 ms (target 80): met" in text
    assert "256 sessions (target 256): met" in text
    assert "- not run: mtp: no layers" in text
    assert "- failed: suffix: no arctic" in text
    assert text.index("| bf16 | closed | 1 |") < text.index("| bf16 | closed | 16 |")


def test_targets_of_a_gpu_mean_nothing_on_a_cpu() -> None:
    assert "target" not in markdown(document(gpu=None, more={"ttft": [entry(16, [500.0])]}))


def test_acceptance_is_emulated_on_a_gpu_with_random_weights_only() -> None:
    for first, is_emulated in (
        (FIRST, True),
        (replace(FIRST, device="cpu"), False),
        (replace(FIRST, random_weights=False), False),
    ):
        jobs = plan_llm(replace(EVERYTHING, first=first), FOLDERS).jobs
        configs = [job.launch.speculation for job in jobs if job.launch.speculation is not None]
        assert len(configs) == 5
        assert all(("rejection_sample_method" in config) == is_emulated for config in configs)


def test_a_missed_target_is_called_so() -> None:
    slow = markdown(document(gpu=Gpu("H", "1", 2), more={"ttft": [entry(16, [20.0] * 9 + [81.0])]}))
    assert "p50 20.0 (target 25), p99 81.0 ms (target 80): missed" in slow
    text = markdown(document(gpu=Gpu("H", "1", 2), more={"ttft": [entry(16, [26.0])]}))
    assert "p50 26.0 (target 25), p99 26.0 ms (target 80): missed" in text


def test_the_table_of_speculation() -> None:
    more = {"method": "ngram", "acceptance": 0.5, "accepted_length": 2.5, "n_drafts": 9}
    text = markdown(document(gpu=None, more={"speculation": [entry(1, [9.0], **more)]}))
    assert "| ngram | 1 | 1 | 9.0 / 9.0 / 9.0 |" in text
    assert "| 50% | 2.50 |" in text


def test_a_table_is_markdown() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_a_group_is_never_larger_than_allowed() -> None:
    jobs = [Job(replace(FIRST, name=str(n)), ("speculation",), "ngram") for n in range(5)]
    assert [len(group) for group in groups(jobs, 2)] == [2, 2, 1]
