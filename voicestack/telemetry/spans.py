"""How do finished turns get to an OpenTelemetry collector, and what happens while it is down?

One trace a turn, made from its record when it is over, in a worker thread: a call never waits for it. The
collector's address, headers, certificates, sampling and limits are the standard OTEL_* variables. What cannot
be delivered is dropped and counted; the log says so once, and once when it works again.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from prometheus_client.metrics_core import CounterMetricFamily, Metric

from voicestack.core.turn_record import TurnRecord
from voicestack.telemetry.exemplars import trace_id_of
from voicestack.telemetry.span_shapes import Shape, Telling, trace_of

log = logging.getLogger(__name__)

WAITING_TURNS = 2_048
"""More are dropped: at ten turns a second, three minutes of a collector that hangs."""
BATCH_TURNS = 128
GATHER_S = 1.0
"""Turns wait so long for others before they are sent."""
CLOSE_S = 2.0
"""A server that stops waits so long for the last ones."""
PATH = "/v1/traces"
SCOPE = "voicestack"
NOISY = ("opentelemetry.exporter.otlp", "opentelemetry.sdk.trace")
"""Loggers that write a line at every attempt to reach a collector that is down."""


class TurnSpans:
    """Sends turns as traces.

    Args:
        exporter: Where to.
        telling: What goes into them beyond the records.
        instance: What is the same for all turns of this server, by OpenTelemetry's names; OTEL_SERVICE_NAME
            and OTEL_RESOURCE_ATTRIBUTES win.
        gather_s: See GATHER_S.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        telling: Telling,
        instance: dict[str, str],
        *,
        gather_s: float = GATHER_S,
    ) -> None:
        self._exporter, self._telling, self._gather_s = exporter, telling, gather_s
        self._waiting: deque[TurnRecord] = deque()
        self._ids, self._made = _TurnIds(), _Made()
        resource = Resource.create(dict(instance)).merge(OTELResourceDetector().detect())
        provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        provider.add_span_processor(self._made)
        self._tracer = provider.get_tracer(SCOPE)
        self._woken = asyncio.Event()
        self._sending: asyncio.Future[tuple[int, bool]] | None = None
        self._is_down = False
        self._counts = Counter({"sent": 0, "dropped": 0})

    def turn_recorded(self, record: TurnRecord) -> None:
        """A turn is over. Never waits."""
        if len(self._waiting) >= WAITING_TURNS:
            self._counts["dropped"] += _n_spans(record, self._telling)
            return
        self._waiting.append(record)
        self._woken.set()

    async def run(self) -> None:
        """Send what is there, until cancelled; then what is left, if the collector was there."""
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                await asyncio.sleep(self._gather_s)
                while self._waiting:
                    await self._send_some()
        finally:
            await self._close()

    async def _send_some(self) -> None:
        records = [self._waiting.popleft() for _ in range(min(BATCH_TURNS, len(self._waiting)))]
        sending = asyncio.get_running_loop().run_in_executor(None, self._send, records)
        sending.add_done_callback(self._sent)
        self._sending = sending
        await asyncio.shield(sending)

    async def _close(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                if self._sending is not None:
                    await asyncio.shield(self._sending)
                while self._waiting and not self._is_down:
                    await self._send_some()
        self._exporter.shutdown()  # wakes it from the wait before its next attempt
        if self._sending is not None:
            await self._sending
        self._counts["dropped"] += sum(_n_spans(record, self._telling) for record in self._waiting)
        self._waiting.clear()

    def _send(self, records: Sequence[TurnRecord]) -> tuple[int, bool]:
        """In the worker thread. Returns how many spans that were, and whether they have arrived."""
        for record in records:
            self._make(record)
        spans = self._made.take()
        return len(spans), not spans or self._exporter.export(spans) is SpanExportResult.SUCCESS

    def _sent(self, sending: asyncio.Future[tuple[int, bool]]) -> None:
        n_spans, arrived = sending.result()
        self._counts["sent" if arrived else "dropped"] += n_spans
        if arrived and self._is_down:
            log.info("traces are delivered again; %d spans have been dropped", self._counts["dropped"])
        if not arrived and not self._is_down:
            log.warning("traces cannot be delivered, and are dropped until they can")
        self._is_down = not arrived

    def _make(self, record: TurnRecord) -> None:
        turn = trace_of(record, self._telling)
        self._ids.trace_id = trace_id_of(record.id)
        root = self._span(turn.root, Context(), ())
        inside = trace.set_span_in_context(root, Context())
        links: list[Link] = []
        if turn.draft is not None:
            draft = self._span(turn.draft, inside, ())
            draft.end(turn.draft.end_ns)
            links = [Link(draft.get_span_context(), {"voicestack.link": "draft"})]
        for stage in turn.stages:
            self._span(stage, inside, links if stage.drafted else ()).end(stage.end_ns)
        root.end(turn.root.end_ns)

    def _span(self, shape: Shape, inside: Context, links: Sequence[Link]) -> trace.Span:
        span = self._tracer.start_span(
            shape.name,
            inside,
            SpanKind.CLIENT if shape.asks else SpanKind.INTERNAL,
            dict(shape.values),
            links,
            shape.start_ns,
        )
        for happening in shape.happenings:
            span.add_event(happening.name, dict(happening.values), happening.at_ns)
        if shape.failure:
            span.set_attribute("error.type", shape.failure)
            span.set_status(Status(StatusCode.ERROR, shape.failure))
        return span

    def export(self) -> Iterator[Metric]:
        """How many spans went, and how many did not. For Prometheus."""
        spans = CounterMetricFamily(
            "voicestack_spans",
            "Spans of turns for the collector of traces, by what became of them",
            labels=["fate"],
        )
        for fate, n in self._counts.items():
            spans.add_metric([fate], n)
        yield spans


class _TurnIds(RandomIdGenerator):
    """Every trace is named after its turn. For one thread at a time."""

    trace_id = 1

    def generate_trace_id(self) -> int:
        return self.trace_id


class _Made(SpanProcessor):
    """Keeps the spans that were sampled until they are taken."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do yet."""

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        spans, self._spans = self._spans, []
        return spans


def _n_spans(record: TurnRecord, telling: Telling) -> int:
    turn = trace_of(record, telling)
    return 1 + (turn.draft is not None) + len(turn.stages)


def otlp_exporter(url: str) -> SpanExporter:
    """Sends OTLP over HTTP, as protobuf.

    Args:
        url: Of the collector, with or without PATH; empty for what the OTEL_* variables say.
    """
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    endpoint = None if not url else url if url.endswith(PATH) else url.rstrip("/") + PATH
    return OTLPSpanExporter(endpoint=endpoint)
