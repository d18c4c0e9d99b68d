"""Traces for `voicestack bench ledger`: made and encoded as for a collector. Needs `voicestack[otel]`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from voicestack.aio.scope import Scope
from voicestack.telemetry.span_shapes import Telling
from voicestack.telemetry.spans import TurnSpans


class _Nowhere(SpanExporter):
    """Encodes spans as for a collector, and sends them to nobody."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS


@asynccontextmanager
async def tracing() -> AsyncIterator[TurnSpans]:
    """Makes traces. Leaving the block waits until all are encoded."""
    spans = TurnSpans(_Nowhere(), Telling("bench", "bench"), {})
    async with Scope() as scope:
        scope.start(spans.run(), name="spans")
        await asyncio.sleep(0)
        yield spans
