"""Do Prometheus' figures say what became of the turns, in both formats, and do they stay few?"""

import re
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.support.turn_records import UNIX_MS, a_record
from voicestack.core.rungs import Rung, Taken
from voicestack.core.turn_record import Origin, TurnRecord, Use
from voicestack.telemetry.exemplars import trace_id_of
from voicestack.telemetry.metrics import Metrics
from voicestack.telemetry.replicas import ReplicaReadings
from voicestack.telemetry.turns import TurnReadings

PARSE: Callable[[str], Iterator[Metric]] = openmetrics.text_string_to_metric_families
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
"""As Prometheus 2.42 asks."""
WAY = 'region="local",route="websocket"'


def after(*records: TurnRecord, tenants: tuple[str, ...] = ()) -> Metrics:
    metrics = Metrics(version="1.2.3", profile="scripted")
    metrics.turns = TurnReadings(tenants)
    for record in records:
        metrics.turn_recorded(record)
    return metrics


def read(metrics: Metrics) -> dict[str, float]:
    """Every sample under `name{label="value"}`."""
    samples = {}
    for family in text_string_to_metric_families(metrics.render()[0].decode()):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            samples[f"{sample.name}{{{labels}}}"] = sample.value
    return samples


def test_warm_and_cold_turns_are_never_in_one_histogram() -> None:
    samples = read(
        after(a_record(response_ms=530), a_record(response_ms=560), a_record(response_ms=4_000, warm=False))
    )
    response = "voicestack_turn_response_seconds"
    assert samples[f'{response}_count{{{WAY},warmth="warm"}}'] == 2
    assert samples[f'{response}_sum{{{WAY},warmth="warm"}}'] == pytest.approx(1.09)
    assert samples[f'{response}_count{{{WAY},warmth="cold"}}'] == 1
    assert samples[f'{response}_bucket{{le="0.55",{WAY},warmth="warm"}}'] == 1


def test_the_response_is_held_against_the_turns_own_budget() -> None:
    samples = read(
        after(a_record(response_ms=530, budget_ms=500.0), a_record(response_ms=530, budget_ms=1_000.0))
    )
    used = "voicestack_turn_budget_used_ratio"
    assert samples[f'{used}_bucket{{le="0.6",{WAY},warmth="warm"}}'] == 1
    assert samples[f'{used}_bucket{{le="1.0",{WAY},warmth="warm"}}'] == 1
    assert samples[f'{used}_bucket{{le="1.1",{WAY},warmth="warm"}}'] == 2


def test_a_filler_ends_the_silence_and_is_no_answer() -> None:
    samples = read(after(a_record(response_ms=1_900, filler_ms=700, rungs=(Rung.FILLER,))))
    assert samples[f'voicestack_turn_silence_seconds_sum{{{WAY},warmth="warm"}}'] == pytest.approx(0.7)
    assert samples[f'voicestack_turn_response_seconds_sum{{{WAY},warmth="warm"}}'] == pytest.approx(1.9)
    assert samples[f'voicestack_turn_verdicts_total{{{WAY},verdict="declared"}}'] == 1
    assert samples['voicestack_turn_rungs_total{reason="forecast",rung="filler"}'] == 1


def test_a_refusal_is_no_response_and_ends_the_silence() -> None:
    samples = read(after(a_record(response_ms=700, outcome="refused", rungs=(Rung.REFUSAL,))))
    assert samples[f'voicestack_turn_response_seconds_count{{{WAY},warmth="warm"}}'] == 0
    assert samples[f'voicestack_turn_budget_used_ratio_count{{{WAY},warmth="warm"}}'] == 0
    assert samples[f'voicestack_turn_silence_seconds_sum{{{WAY},warmth="warm"}}'] == pytest.approx(0.7)
    assert samples[f'voicestack_turn_verdicts_total{{{WAY},verdict="declared"}}'] == 1


def test_what_the_user_waited_for_is_apart_from_what_was_hidden() -> None:
    samples = read(after(a_record(response_ms=530)))
    for stage, exposed, hidden in (
        ("endpoint", 0.5, 0.0),
        ("llm", 0.0, 0.14),
        ("tts", 0.0, 0.21),
        ("send", 0.028, 0),
    ):
        labels = f'{{stage="{stage}",warmth="warm"}}'
        assert samples[f"voicestack_turn_exposed_seconds_sum{labels}"] == pytest.approx(exposed), stage
        assert samples[f"voicestack_turn_hidden_seconds_sum{labels}"] == pytest.approx(hidden), stage


def test_turns_over_budget_are_charged_to_the_stage_that_took_most() -> None:
    samples = read(after(a_record(response_ms=530), a_record(response_ms=1_200), a_record(response_ms=1_900)))
    assert samples['voicestack_turn_over_budget_total{stage="tts"}'] == 2
    assert sum(value for name, value in samples.items() if "over_budget_total" in name) == 2


def test_tokens_drafts_and_cut_offs_are_counted() -> None:
    samples = read(
        after(a_record(), a_record(outcome="interrupted", response_ms=530), a_record(response_ms=None))
    )
    assert {
        kind: samples[f'voicestack_turn_tokens_total{{kind="{kind}"}}'] for kind in ("drafted", "wasted")
    } == {
        "drafted": 90,
        "wasted": 30,
    }
    assert samples["voicestack_turn_drafts_total{}"] == 6
    assert samples["voicestack_turn_cut_offs_total{}"] == 0  # it was heard for two seconds
    assert samples[f'voicestack_turn_outcomes_total{{outcome="interrupted",{WAY}}}'] == 1


def test_objectives_are_counted_by_tenant_only_for_tenants_that_the_operator_named() -> None:
    acme, other = Origin(tenant="acme"), Origin(tenant="somebody")
    samples = read(after(a_record(origin=acme), a_record(origin=other, response_ms=900), tenants=("acme",)))
    for tenant, n_bad in (("acme", 0), ("other", 1)):
        labels = f'{{{WAY},slo="budget",tenant="{tenant}"}}'
        assert samples[f"voicestack_slo_turns_total{labels}"] == 1
        assert samples[f"voicestack_slo_bad_turns_total{labels}"] == n_bad
    assert samples['voicestack_slo_objective_ratio{slo="dead_air"}'] == 0.999
    assert "somebody" not in str(samples)


def test_the_server_says_how_fast_it_spends_its_error_budget() -> None:
    metrics = Metrics(version="1.2.3", profile="scripted")
    metrics.turns = TurnReadings(now_s=lambda: UNIX_MS // 1000 + 400)
    for response_ms in (500, 900):
        metrics.turn_recorded(a_record(response_ms=response_ms))
    samples = read(metrics)
    burn = "voicestack_slo_burn_rate"
    assert samples[f'{burn}{{slo="budget",window_s="3600"}}'] == pytest.approx(10)  # half of a twentieth
    assert samples[f'{burn}{{slo="budget",window_s="300"}}'] == 0  # it is over
    assert samples[f'{burn}{{slo="dead_air",window_s="3600"}}'] == 0
    assert samples['voicestack_slo_budget_left_ratio{slo="budget"}'] == pytest.approx(-9)


def test_replicas_are_told_apart_up_to_a_number() -> None:
    replicas = ReplicaReadings(n_replicas=2)
    for number in range(5):
        replicas.used(Use("llm", f"llm-{number}", "local", warm=number != 1, first_ms=40, won=number != 3))
    requests = {
        (sample.labels["replica"], sample.labels["warmth"], sample.labels["used"]): sample.value
        for family in replicas.export()
        for sample in family.samples
        if sample.name == "voicestack_replica_requests_total" and sample.value
    }
    assert requests == {
        ("llm-0", "warm", "true"): 1,
        ("llm-1", "cold", "true"): 1,
        ("other", "warm", "true"): 2,
        ("other", "warm", "false"): 1,
    }


def test_an_unknown_reason_makes_one_series_and_not_many() -> None:
    metrics = after(*(a_record(taken=(Taken(Rung.HEDGE, f"because {n}", 0, 0.0),)) for n in range(9)))
    found = {
        name: value
        for name, value in read(metrics).items()
        if name.startswith("voicestack_turn_rungs") and value
    }
    assert found == {'voicestack_turn_rungs_total{reason="other",rung="hedge"}': 9}


def test_the_number_of_series_does_not_grow_with_turns() -> None:
    def n_after(n_turns: int) -> int:
        records = (
            a_record(id=f"sess_{n}.1", session=f"sess_{n}", origin=Origin(tenant=f"tenant{n}"))
            for n in range(n_turns)
        )
        return len(read(after(*records)))

    assert n_after(1) == n_after(100)


def exemplars(body: bytes) -> dict[str, dict[str, str]]:
    """By the bucket's edge, of the histogram of responses."""
    found: dict[str, dict[str, str]] = {}
    for family in PARSE(body.decode()):
        for sample in family.samples:
            if sample.name == "voicestack_turn_response_seconds_bucket" and sample.exemplar:
                assert sample.exemplar.timestamp is not None
                assert float(sample.exemplar.timestamp) == UNIX_MS / 1e3
                found[sample.labels["le"]] = dict(sample.exemplar.labels)
    return found


def test_openmetrics_names_the_last_turn_of_each_bucket() -> None:
    metrics = after(
        a_record(id="sess_1.1", response_ms=530),
        a_record(id="sess_1.2", response_ms=540),
        a_record(id="sess_1.3", response_ms=9_000),
    )
    body, kind = metrics.render(OPENMETRICS)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    assert exemplars(body) == {"0.55": {"turn_id": "sess_1.2"}, "10.0": {"turn_id": "sess_1.3"}}


def test_exemplars_name_the_trace_where_there_are_traces() -> None:
    metrics = after(a_record(id="sess_1.1"))
    metrics.turns.traced = True
    [labels] = exemplars(metrics.render(OPENMETRICS)[0]).values()
    assert labels == {"turn_id": "sess_1.1", "trace_id": f"{trace_id_of('sess_1.1'):032x}"}
    assert re.fullmatch("[0-9a-f]{32}", labels["trace_id"])


def test_an_exemplar_that_openmetrics_would_refuse_is_left_out() -> None:
    metrics = after(a_record(id="s" * 200))
    assert exemplars(metrics.render(OPENMETRICS)[0]) == {}


def test_strangers_see_no_names_of_turns() -> None:
    body, _ = after(a_record(id="sess_1.1")).render(OPENMETRICS, exemplars=False)
    assert b"sess_1" not in body
    assert b"voicestack_turn_response_seconds_bucket" in body


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/plain", "application/json;q=", "application/openmetrics-textile"]
)
def test_whoever_does_not_ask_for_openmetrics_gets_plain_text(accept: str) -> None:
    body, kind = after(a_record(id="sess_1.1")).render(accept)
    assert kind.startswith("text/plain")
    assert b"sess_1" not in body
