"""Sends the spans of a run to a collector of OpenTelemetry, where the environment names one and the extra `otel` is installed.

Read from the journal when a coordinator leaves. A collector that does not answer changes nothing of the run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cpool_flow import __version__
from cpool_flow.journal import Journal
from cpool_flow.state import State

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from cpool_flow.spans import Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
TIMEOUTS = ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
LONGEST_SECONDS = 5.0  # where the environment says nothing else
SPANS_AT_ONCE = 512


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether the environment names a collector, and does not switch traces off."""
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER", "") == "none"
    return not off and any(environment.get(name) for name in ENDPOINTS)


def unsent(journal: Journal, state: State) -> list[Span]:
    """The spans of a run that have not been sent."""
    from cpool_flow.spans import lives, spans, untold

    found = lives((entry.at, entry.event) for entry in journal.read())
    return [span for number in untold(found) for span in spans(state, found[number], number)]


def send(made: Sequence[Span], environment: Mapping[str, str]) -> str:
    """Send spans; may take some seconds. What went wrong, empty where nothing did, or where the extra is not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    except ImportError:
        return ""
    with _quiet():
        timeout = None if any(environment.get(name) for name in TIMEOUTS) else LONGEST_SECONDS
        exporter: SpanExporter = OTLPSpanExporter(timeout=timeout)
        us = _resource()
        try:
            for number in range(0, len(made), SPANS_AT_ONCE):
                batch = [_readable(span, us) for span in made[number : number + SPANS_AT_ONCE]]
                if exporter.export(batch) is not SpanExportResult.SUCCESS:
                    return "traces: the collector did not take the spans of this run"
        finally:
            exporter.shutdown()
    return ""


def _resource() -> Resource:
    """Who sends them, as `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say, else our name."""
    from opentelemetry.sdk.resources import Resource

    named = Resource.create({"service.version": __version__})
    is_unnamed = str(named.attributes.get("service.name", "")).startswith("unknown_service")
    return named.merge(Resource({"service.name": "cpool-flow"})) if is_unnamed else named


def _readable(span: Span, resource: Resource) -> ReadableSpan:
    """The span as the exporter takes it."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    def context(span_id: int) -> SpanContext:
        return SpanContext(span.trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    return ReadableSpan(
        name=span.name,
        context=context(span.span_id),
        parent=context(span.parent_id) if span.parent_id is not None else None,
        resource=resource,
        attributes=span.attributes,
        kind=SpanKind.INTERNAL,
        status=Status({"ok": StatusCode.OK, "error": StatusCode.ERROR, "unset": StatusCode.UNSET}[span.status]),
        start_time=round(span.start * 1e9),
        end_time=round(span.end * 1e9),
        instrumentation_scope=InstrumentationScope("cpool_flow", __version__),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter complains to the terminal of what is told as a note of the run."""
    logger = logging.getLogger("opentelemetry")
    before = logger.disabled, logger.level, logger.propagate
    handler = logging.NullHandler()
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.disabled, logger.level, logger.propagate = before
