"""How do finished turns get to an OpenTelemetry collector, and what happens while it is down?

One trace a turn, made from its record when it is over, in a worker thread: a call never waits for it. The
collector's address, headers, certificates and sampling are the standard OTEL_* variables. What cannot
be delivered is dropped and counted; the log says so once, and once when it works again.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from prometheus_client.metrics_core import CounterMetricFamily, Metric

from voicestack.core.marks import TurnMarks
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
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
NOISY = ("opentelemetry.exporter.otlp", "opentelemetry.sdk.trace")
"""Loggers that write a line at every attempt to reach a collector that is down."""


class TurnSpans:
    """Sends turns as traces. Satisfies `listener.TurnListener`.

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
        self._maker = _Maker(telling, instance)
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

    def answer_heard(self, turn_id: str, marks: TurnMarks) -> None:
        """See `listener.TurnListener`. Nothing to do: most answers are heard before they are over."""

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
        spans = [span for record in records for span in self._maker.spans(record)]
        return len(spans), not spans or self._exporter.export(spans) is SpanExportResult.SUCCESS

    def _sent(self, sending: asyncio.Future[tuple[int, bool]]) -> None:
        n_spans, arrived = sending.result()
        self._counts["sent" if arrived else "dropped"] += n_spans
        if arrived and self._is_down:
            log.info("traces are delivered again; %d spans have been dropped", self._counts["dropped"])
        if not arrived and not self._is_down:
            log.warning("traces cannot be delivered, and are dropped until they can")
        self._is_down = not arrived

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


class _Maker:
    """Makes turns into the library's spans: finished ones, for a third of what starting and ending costs."""

    def __init__(self, telling: Telling, instance: dict[str, str]) -> None:
        self._telling = telling
        resource = Resource.create(dict(instance)).merge(OTELResourceDetector().detect())
        self._resource = _Same(resource.attributes, resource.schema_url)
        self._sampler = TracerProvider(resource=self._resource, shutdown_on_exit=False).sampler
        self._scope = InstrumentationScope(SCOPE, str(resource.attributes.get("service.version", "")))
        self._ids = RandomIdGenerator()

    def spans(self, record: TurnRecord) -> list[ReadableSpan]:
        """Those of a turn; none if it is not sampled."""
        trace_id, turn = trace_id_of(record.id), trace_of(record, self._telling)
        root = turn.root
        sampled = self._sampler.should_sample(None, trace_id, root.name, SpanKind.INTERNAL, root.values)
        if sampled.decision is not Decision.RECORD_AND_SAMPLE:
            return []
        inside = self._place(trace_id)
        out = [self._span(root, inside, None, ())]
        links: list[Link] = []
        if turn.draft is not None:
            place = self._place(trace_id)
            out.append(self._span(turn.draft, place, inside, ()))
            links = [Link(place, {"voicestack.link": "draft"})]
        for stage in turn.stages:
            out.append(self._span(stage, self._place(trace_id), inside, links if stage.drafted else ()))
        return out

    def _place(self, trace_id: int) -> SpanContext:
        return SpanContext(trace_id, self._ids.generate_span_id(), is_remote=False, trace_flags=SAMPLED)

    def _span(
        self, shape: Shape, place: SpanContext, parent: SpanContext | None, links: Sequence[Link]
    ) -> ReadableSpan:
        failed = {"error.type": shape.failure} if shape.failure else {}
        return ReadableSpan(
            shape.name,
            place,
            parent,
            self._resource,
            {**shape.values, **failed},
            [Event(one.name, one.values, one.at_ns) for one in shape.happenings],
            links,
            SpanKind.CLIENT if shape.asks else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, shape.failure) if shape.failure else Status(StatusCode.UNSET),
            start_time=shape.start_ns,
            end_time=shape.end_ns,
            instrumentation_scope=self._scope,
        )


class _Same(Resource):
    """A resource that is itself and no other.

    The encoder asks every span's for its hash, and the usual one writes all of it as JSON each time.
    """

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


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
