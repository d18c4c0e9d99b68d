"""Are vLLM's figures read as they are meant?"""

import pytest

from voicestack.engines.vllm_metrics import VllmMetrics, parsed, prefill_rate

TEXT = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="local"} 2.0
vllm:num_requests_running{engine="1",model_name="local"} 1.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="local"} 4.0
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{engine="0",model_name="local",reason="capacity"} 4.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="local"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="local"} 0.5
# TYPE vllm:prefix_cache_queries counter
vllm:prefix_cache_queries_total{engine="0",model_name="local"} 400.0
vllm:prefix_cache_queries_created{engine="0",model_name="local"} 1.7958745773439717e+09
# TYPE vllm:prefix_cache_hits counter
vllm:prefix_cache_hits_total{engine="0",model_name="local"} 300.0
vllm:prefix_cache_hits_created{engine="0",model_name="local"} 1.7958745773439717e+09
# TYPE vllm:prompt_tokens counter
vllm:prompt_tokens_total{engine="0",model_name="local"} 400.0
# TYPE vllm:request_prefill_time_seconds histogram
vllm:request_prefill_time_seconds_bucket{engine="0",le="0.3",model_name="local"} 3.0
vllm:request_prefill_time_seconds_bucket{engine="0",le="+Inf",model_name="local"} 4.0
vllm:request_prefill_time_seconds_count{engine="0",model_name="local"} 4.0
vllm:request_prefill_time_seconds_sum{engine="0",model_name="local"} 1.5
# TYPE vllm:admission_rejections counter
vllm:admission_rejections_total{model_name="local",reason="max_num_queued_reqs"} 2.0
vllm:admission_rejections_total{model_name="local",reason="max_num_queued_tokens"} 3.0
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1.0e+09
"""
DRAFTS = """\
# TYPE vllm:spec_decode_num_drafts counter
vllm:spec_decode_num_drafts_total{engine="0"} 10.0
# TYPE vllm:spec_decode_num_draft_tokens counter
vllm:spec_decode_num_draft_tokens_total{engine="0"} 40.0
# TYPE vllm:spec_decode_num_accepted_tokens counter
vllm:spec_decode_num_accepted_tokens_total{engine="0"} 25.0
"""


def test_gauges_and_counters() -> None:
    figures = parsed(TEXT)
    assert figures["running"] == 3  # of all engines
    assert figures["waiting"] == 4
    assert figures["kv_use_ratio"] == 0.5  # of the fullest
    assert figures["refused"] == 5  # for whatever reason
    assert figures["prefill_s"] == 1.5
    assert figures["prefix_hit_ratio"] == 0.75


def test_what_is_not_said_is_absent() -> None:
    figures = parsed(TEXT)
    assert "accept_ratio" not in figures
    assert "accepted_mean" not in figures
    assert parsed("") == {}
    assert "prefix_hit_ratio" not in parsed("vllm:prefix_cache_queries_total 0.0\n")


def test_drafts() -> None:
    figures = parsed(DRAFTS)
    assert figures["accept_ratio"] == 25 / 40
    assert figures["accepted_mean"] == 1 + 25 / 10


def test_what_is_no_metrics_is_refused() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the parser's own)
        parsed("vllm:num_requests_running <html>")


def test_the_rate_of_prompts() -> None:
    before = {"prompt_tokens": 1000.0, "prefill_s": 2.0}
    assert prefill_rate(before, {"prompt_tokens": 3000.0, "prefill_s": 2.5}) == 4000
    assert prefill_rate(before, {"prompt_tokens": 1100.0, "prefill_s": 2.5}) is None  # too few
    assert prefill_rate(before, {"prompt_tokens": 3000.0, "prefill_s": 2.0}) is None
    assert prefill_rate({}, {}) is None


def test_the_fastest_rate_is_kept_across_a_restart() -> None:
    metrics = VllmMetrics("unix:/nowhere")
    readings = [(1000, 1.0), (3000, 1.5), (5000, 3.5), (10, 0.1), (2010, 1.1)]
    for tokens, spent_s in readings:
        metrics._take({"prompt_tokens": float(tokens), "prefill_s": spent_s})
    assert metrics.prefill_tokens_per_s == 4000
    assert metrics.figures()["prefill_tokens_per_s"] == 4000
