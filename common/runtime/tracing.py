"""OpenTelemetry: the work that a request causes can be followed through the queue, unit by unit.

Only the API is required. Without an SDK every span is a no-op, and it is not even started (which was a
twelfth of the cost of a short number) unless the caller has a trace to pass on.
`requirements-tracing.lock` contains the SDK; OTEL_EXPORTER_OTLP_ENDPOINT turns it on.

Each unit is a trace of its own, linked to the span that published it: a hard number takes thousands of
units and days, which no trace viewer shows as one tree.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    ProxyTracer,
    ProxyTracerProvider,
    Span,
    SpanKind,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from common import errors
from common.domain import Unit
from common.runtime.logs import about
from common.runtime.settings import Settings

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""OpenTelemetry's own variable: the address of a collector, such as http://127.0.0.1:4318."""

_propagator = TraceContextTextMapPropagator()
"""Passes on the headers ``traceparent`` and ``tracestate``, and no baggage that a stranger sends."""
_tracer = trace.get_tracer("factorline")


@contextlib.contextmanager
def configure_tracing(settings: Settings, *, service: str) -> Iterator[None]:
    """Send spans to a collector if the environment names one; send the last ones on exit.

    Raises:
        errors.SettingError: A collector is named, but the SDK is not installed.

    """
    if not os.environ.get(ENDPOINT):
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http import trace_exporter  # noqa: PLC0415 an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise errors.SettingError(
            name=ENDPOINT,
            value=os.environ[ENDPOINT],
            why="OpenTelemetry's SDK is not installed: "
            "run `pip install --no-deps --require-hashes -r requirements-tracing.lock`",
        ) from error
    names = {"service.name": service, "service.instance.id": settings.name or str(os.getpid())}
    provider = TracerProvider(resource=Resource.create(names))
    provider.add_span_processor(BatchSpanProcessor(trace_exporter.OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


@contextlib.contextmanager
def _span(
    name: str,
    kind: SpanKind,
    attributes: Mapping[str, AttributeValue],
    *,
    caller: Context,
    linked: bool = False,
) -> Iterator[Span]:
    """Trace what is done meanwhile, as a part of the caller's trace or as one of its own with a link to it.

    No span is started if nobody records spans and the caller has no trace to pass on.
    """
    theirs = trace.get_current_span(caller).get_span_context()
    if _unrecorded() and not theirs.is_valid:
        yield INVALID_SPAN
        return
    with _tracer.start_as_current_span(
        name,
        context=Context() if linked else caller,
        kind=kind,
        links=[Link(theirs)] if linked and theirs.is_valid else [],
        attributes=attributes,
    ) as span:
        yield span


def _unrecorded() -> bool:
    """Return whether there is no SDK that could record a span."""
    provider = trace.get_tracer_provider()
    return isinstance(_tracer, ProxyTracer) and isinstance(provider, ProxyTracerProvider)


def serving(
    method: str, route: str, headers: Mapping[str, str], *, trusted: bool
) -> contextlib.AbstractContextManager[Span]:
    """Trace a request, if its headers name a trace as part of that one or with a link to it.

    Args:
        method: The method of the request.
        route: The pattern that its path matches.
        headers: Its header fields.
        trusted: Whether the client's trace may decide whether the request is recorded. A stranger's must
            not: it could have every request recorded, or none. Where nothing is recorded its ids are
            passed on all the same, so that log lines have them.

    """
    return _span(
        f"{method} {route}",
        SpanKind.SERVER,
        {"http.request.method": method, "http.route": route},
        caller=_propagator.extract(headers),
        linked=not trusted and not _unrecorded(),
    )


@contextlib.contextmanager
def publishing(system: str, units: Sequence[Unit]) -> Iterator[dict[str, str]]:
    """Trace a publish; yield the headers that carry its context to whoever receives the units."""
    with _span(
        "publish units",
        SpanKind.PRODUCER,
        {
            "messaging.system": system,
            "messaging.operation.type": "send",
            "messaging.batch.message_count": len(units),
        },
        caller=get_current(),
    ):
        headers: dict[str, str] = {}
        _propagator.inject(headers)
        yield headers


def processing(unit: Unit, headers: Mapping[str, str]) -> contextlib.AbstractContextManager[Span]:
    """Trace the processing of a delivered unit, linked to the span that published it."""
    return _span(
        f"process {unit.kind}",
        SpanKind.CONSUMER,
        {
            "messaging.operation.type": "process",
            "messaging.message.id": unit.unit_id,
            **fields(unit),
        },
        caller=_propagator.extract(headers),
        linked=True,
    )


def fields(unit: Unit) -> dict[str, AttributeValue]:
    """Return the attributes that name a unit in a span."""
    named = {"unit_id": unit.unit_id, "kind": unit.kind, **about(unit.number)}
    return {f"factorline.{name}": value for name, value in named.items()}
