"""Do turns become OpenTelemetry traces here, and what do they say of the server?"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from voicestack import __version__
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError
from voicestack.telemetry.metrics import Metrics
from voicestack.telemetry.span_shapes import AGENT, PROVIDERS, Telling

if TYPE_CHECKING:  # the package is optional
    from voicestack.telemetry.spans import TurnSpans

log = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def spans_of(config: Config, environ: Mapping[str, str], metrics: Metrics) -> TurnSpans | None:
    """Send the turns that `metrics` is told of to a collector; whoever gets the sender has to run it.

    Returns None where there is no collector: neither the configuration nor the standard variables name one,
    or OTEL_SDK_DISABLED or OTEL_TRACES_EXPORTER say that there shall be none.

    Raises:
        ConfigError: the configuration names one, and the package is not installed.
    """
    url = config.telemetry.otlp_url
    is_off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    is_off = is_off or environ.get("OTEL_TRACES_EXPORTER", "") == "none"
    if is_off or not (url or any(environ.get(name) for name in ENDPOINTS)):
        return None
    try:
        from voicestack.telemetry.spans import TurnSpans, otlp_exporter
    except ModuleNotFoundError as error:
        missing = f"needs the package '{error.name}': pip install 'voicestack[otel]'"
        if url:
            raise ConfigError(f"telemetry.otlp_url {missing}") from error
        log.warning("OTEL_EXPORTER_OTLP_ENDPOINT %s; there will be no traces", missing)
        return None
    spans = TurnSpans(otlp_exporter(url), _telling(config), _instance(config))
    metrics.turns.traced = True
    metrics.listeners.append(spans)
    metrics.exports.append(spans.export)
    return spans


def _telling(config: Config) -> Telling:
    engine = config.llm.engine
    model = config.vllm.model if engine == "vllm" else config.llm.model
    return Telling(PROVIDERS.get(engine, engine), model, words=config.ledger.transcripts)


def _instance(config: Config) -> dict[str, str]:
    return {
        "service.name": AGENT,
        "service.version": __version__,
        "voicestack.profile": config.profile,
        "voicestack.region": config.fleet.region,
    }
