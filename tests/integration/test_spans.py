"""Does a real collector receive one trace a turn, and does nobody notice when it is down?"""

import asyncio
import json
import logging
import sys
from collections.abc import Iterable, Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.otlp_collector import Collector, otlp_collector, values_of
from tests.support.turn_records import UNIX_MS, a_record
from voicestack.aio.scope import Scope
from voicestack.config.load import load
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError
from voicestack.core.rungs import Rung
from voicestack.core.turn_record import TurnRecord
from voicestack.server.tracing import spans_of
from voicestack.telemetry.exemplars import trace_id_of
from voicestack.telemetry.metrics import Metrics
from voicestack.telemetry.span_shapes import Telling
from voicestack.telemetry.spans import WAITING_TURNS, TurnSpans, otlp_exporter

TELLING = Telling("llama.cpp", "smollm2-135m-instruct")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with otlp_collector() as one:
        yield one


def sender(url: str, telling: Telling = TELLING) -> TurnSpans:
    return TurnSpans(otlp_exporter(url), telling, {"service.name": "voicestack"}, gather_s=0.0)


async def send(spans: TurnSpans, records: Iterable[TurnRecord]) -> None:
    """Hand them over; then stop as the server does."""
    async with Scope() as scope:
        scope.start(spans.run(), name="spans")
        await asyncio.sleep(0)
        for record in records:
            spans.turn_recorded(record)


def by_name(collector: Collector) -> dict[str, Span]:
    return {span.name: span for span in collector.spans}


def counted(spans: TurnSpans) -> dict[str, float]:
    [family] = spans.export()
    return {sample.labels["fate"]: sample.value for sample in family.samples}


def test_a_turn_is_one_trace_with_a_span_per_stage(collector: Collector) -> None:
    record = a_record(response_ms=530)
    spans = sender(collector.url)
    asyncio.run(send(spans, [record]))
    found = by_name(collector)
    assert set(found) == {
        *("invoke_agent voicestack", "draft", "endpoint", "asr", "chat smollm2-135m-instruct", "tts", "send")
    }
    root = found.pop("invoke_agent voicestack")
    assert not root.parent_span_id
    assert int.from_bytes(root.trace_id, "big") == trace_id_of(record.id)
    for name, span in found.items():
        assert span.trace_id == root.trace_id, name
        assert span.parent_span_id == root.span_id, name
        assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano, name
        assert span.end_time_unix_nano <= root.end_time_unix_nano, name
    assert counted(spans) == {"sent": 7, "dropped": 0}


def test_times_are_of_the_wall_clock(collector: Collector) -> None:
    asyncio.run(send(sender(collector.url), [a_record(response_ms=530)]))
    found = by_name(collector)
    assert found["endpoint"].start_time_unix_nano == UNIX_MS * 1_000_000
    chat = found["chat smollm2-135m-instruct"]
    assert chat.start_time_unix_nano == (UNIX_MS + 150) * 1_000_000
    assert chat.end_time_unix_nano == (UNIX_MS + 290) * 1_000_000


def test_the_root_speaks_the_conventions_for_generative_ai(collector: Collector) -> None:
    asyncio.run(
        send(sender(collector.url), [a_record(response_ms=900, rungs=(Rung.SHORT_CLAUSE, Rung.FILLER))])
    )
    root = by_name(collector)["invoke_agent voicestack"]
    values = values_of(root.attributes)
    assert {name: values[name] for name in values if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "llama.cpp",
        "gen_ai.request.model": "smollm2-135m-instruct",
        "gen_ai.agent.name": "voicestack",
        "gen_ai.conversation.id": "sess_1",
        "gen_ai.output.type": "speech",
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.usage.output_tokens": 20,
    }
    assert values["voicestack.verdict"] == "declared"
    assert values["voicestack.rung"] == "filler"
    assert values["voicestack.response_ms"] == 900.0
    assert values["voicestack.wasted_tokens"] == 10
    rungs = [values_of(event.attributes) for event in root.events if event.name == "voicestack.rung"]
    assert [one["voicestack.rung"] for one in rungs] == ["short_clause", "filler"]
    assert rungs[0]["voicestack.forecast_ms"] == 350.0
    assert root.events[0].time_unix_nano == (UNIX_MS + 400) * 1_000_000
    assert root.status.code == Status.STATUS_CODE_UNSET
    assert values["voicestack.blamed"] == "endpoint"
    assert "voicestack.cold" not in values


def test_a_cold_replica_is_named(collector: Collector) -> None:
    asyncio.run(send(sender(collector.url), [a_record(warm=False)]))
    found = by_name(collector)
    assert values_of(found["invoke_agent voicestack"].attributes)["voicestack.cold"] is True
    assert values_of(found["chat smollm2-135m-instruct"].attributes)["voicestack.cold"] is True
    assert "voicestack.cold" not in values_of(found["tts"].attributes)


def test_stages_say_who_was_asked_and_what_was_hidden(collector: Collector) -> None:
    asyncio.run(send(sender(collector.url), [a_record(response_ms=530)]))
    found = by_name(collector)
    chat = found["chat smollm2-135m-instruct"]
    values = values_of(chat.attributes)
    assert chat.kind == Span.SPAN_KIND_CLIENT
    assert values["gen_ai.operation.name"] == "chat"
    assert values["gen_ai.response.time_to_first_chunk"] == pytest.approx(0.14)
    assert values["voicestack.replica"] == "llm-0"
    assert "voicestack.region" not in values  # it is this server's, and in the resource
    assert values["voicestack.hidden_ms"] == 140.0
    [lost] = [values_of(event.attributes) for event in chat.events]
    assert (lost["voicestack.replica"], lost["voicestack.region"]) == ("llm-1", "eu-west")
    assert [link.span_id for link in chat.links] == [found["draft"].span_id]
    assert not found["send"].links


def test_a_turn_that_failed_is_an_error(collector: Collector) -> None:
    record = a_record(response_ms=None, outcome="failed", failure="stage_timeout")
    asyncio.run(send(sender(collector.url), [record]))
    root = by_name(collector)["invoke_agent voicestack"]
    assert root.status.code == Status.STATUS_CODE_ERROR
    assert values_of(root.attributes)["error.type"] == "stage_timeout"


@pytest.mark.parametrize("words", [False, True])
def test_words_leave_only_where_transcripts_are_kept(collector: Collector, words: bool) -> None:
    record = a_record(user_text="my number is 12", agent_text="thank you")
    asyncio.run(send(sender(collector.url, Telling("openai", "x", words=words)), [record]))
    values = values_of(by_name(collector)["invoke_agent voicestack"].attributes)
    everything = b"".join(request.SerializeToString() for request in collector.requests)
    assert (b"my number" in everything, b"thank you" in everything) == (words, words)
    if words:
        [message] = json.loads(values["gen_ai.input.messages"])
        assert message == {"role": "user", "parts": [{"type": "text", "content": "my number is 12"}]}


def test_the_standard_variables_hold(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=voice")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "front-desk")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
    asyncio.run(send(sender(""), [a_record()]))
    assert collector.headers[0]["x-team"] == "voice"
    assert collector.headers[0]["content-encoding"] == "gzip"
    assert collector.headers[0]["path"] == "/v1/traces"
    assert collector.resource["service.name"] == "front-desk"
    assert collector.resource["deployment.environment.name"] == "staging"


def test_sampling_is_the_standard_one(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    spans = sender(collector.url)
    asyncio.run(send(spans, [a_record()]))
    assert counted(spans) == {"sent": 0, "dropped": 0}
    assert not collector.requests


def test_a_collector_that_refuses_costs_spans_and_one_line(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    async def down_then_up(spans: TurnSpans) -> None:
        async with Scope() as scope:
            scope.start(spans.run(), name="spans")
            for status in (400, 400, 400, 200):
                collector.status = status
                before = sum(counted(spans).values())
                spans.turn_recorded(a_record())
                while sum(counted(spans).values()) == before:  # noqa: ASYNC110 (all that can be seen)
                    await asyncio.sleep(0.001)

    spans = sender(collector.url)
    with caplog.at_level(logging.INFO):
        asyncio.run(down_then_up(spans))
    assert counted(spans) == {"sent": 7, "dropped": 21}
    assert [
        record.levelname for record in caplog.records if record.name.startswith(("voicestack", "opentele"))
    ] == [
        "WARNING",
        "INFO",
    ]


def test_a_server_stops_although_its_collector_is_gone() -> None:
    with otlp_collector() as gone:
        url = gone.url
    spans = sender(url)
    asyncio.run(send(spans, [a_record() for _ in range(300)]))
    assert counted(spans) == {"sent": 0, "dropped": 2_100}


def test_turns_that_wait_are_bounded_and_counted_when_dropped() -> None:
    spans = sender("http://127.0.0.1:1")
    for _ in range(WAITING_TURNS + 2):
        spans.turn_recorded(a_record())
    assert counted(spans) == {"sent": 0, "dropped": 14}


def config_of(*sets: str) -> Config:
    return load("scripted", env={}, sets=sets).config


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_no_address_means_no_traces(environ: dict[str, str]) -> None:
    metrics = Metrics(version="1", profile="scripted")
    assert spans_of(config_of(), environ, metrics) is None
    assert not metrics.listeners
    assert not metrics.turns.traced


@pytest.mark.parametrize("where", ["telemetry.otlp_url=http://127.0.0.1:4318", ""])
def test_an_address_means_traces(where: str) -> None:
    metrics = Metrics(version="1", profile="scripted")
    environ = {} if where else {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}
    spans = spans_of(config_of(*filter(None, [where])), environ, metrics)
    assert spans is not None
    assert metrics.listeners == [spans]
    assert metrics.turns.traced
    assert b'voicestack_spans_total{fate="sent"} 0.0' in metrics.render()[0]


def test_an_address_without_the_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "voicestack.telemetry.spans", None)
    metrics = Metrics(version="1", profile="scripted")
    config = config_of("telemetry.otlp_url=http://127.0.0.1:4318")
    with pytest.raises(ConfigError, match=r"pip install 'voicestack\[otel\]'"):
        spans_of(config, {}, metrics)
    assert spans_of(config_of(), {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, metrics) is None
