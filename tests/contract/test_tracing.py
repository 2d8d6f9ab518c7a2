"""A request and the units that it set off can be told to belong together, through either broker."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import SpanKind

from common.broker import Broker, Queue
from common.runtime import tracing
from common.runtime.logs import about
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from factor_worker.consumer import Consumer
from factor_worker.heartbeat import Heartbeat
from factor_worker.metering import Meter
from factor_worker.settlement import Settlement
from factor_worker.slots.child import ChildLimits
from factor_worker.slots.pool import Pool
from gateway.app import create_app
from infra.local.programs import ROOT
from tests import waiting

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
NUMBER = 2**67 - 1

PROGRAM = """
import sys
from common import errors
from common.runtime import tracing
from common.runtime.settings import Settings
if len(sys.argv) > 1:
    sys.modules[sys.argv[1]] = None
try:
    with tracing.configure_tracing(Settings(name="number-7"), service="factorline-test"):
        with tracing.serving("GET", "/healthz", {}, trusted=False):
            pass
except errors.SettingError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Yield what collects this test's spans."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """Yield a slot for surveys."""
    pool = Pool(1, ChildLimits(60, 1 << 30))
    await pool.start()
    yield pool
    await pool.close()


def only(spans: InMemorySpanExporter, kind: SpanKind) -> ReadableSpan:
    """Return the one span of a kind."""
    [span] = [span for span in spans.get_finished_spans() if span.kind is kind]
    return span


async def test_a_unit_is_linked_to_the_request_that_set_it_off(
    broker: Broker, sqlite_store: SqliteStore, pool: Pool, spans: InMemorySpanExporter
) -> None:
    """The request is part of its client's trace; the unit has a trace of its own, with a link."""
    heartbeat, meter = Heartbeat(sqlite_store, worker_id="w"), Meter(sqlite_store)
    settlement = Settlement(sqlite_store, broker, heartbeat, meter=meter, sieve_digits=0)
    consumer = Consumer(sqlite_store, settlement, worker_id="w")
    app = create_app(Settings(trust_traces=True), store=sqlite_store, broker=broker)
    async with TestClient[web.Request, web.Application](TestServer(app)) as client:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "baggage": "secret=1"}
        await client.post("/factor", json={"number": str(NUMBER)}, headers=headers)
        await broker.consume(Queue.SURVEY, lambda it: consumer.handle(pool, it), prefetch=1)
        await waiting.until(
            lambda: any(span.kind is SpanKind.CONSUMER for span in spans.get_finished_spans()),
            "the end of the unit",
        )
    request, publish, unit = (
        only(spans, kind) for kind in (SpanKind.SERVER, SpanKind.PRODUCER, SpanKind.CONSUMER)
    )

    assert request.parent is not None
    assert publish.parent is not None
    assert request.attributes is not None
    assert unit.attributes is not None
    assert (int(TRACE, 16), int(PARENT, 16)) == (request.context.trace_id, request.parent.span_id)
    assert ("POST /factor", 202) == (request.name, request.attributes["http.response.status_code"])
    assert request.context.span_id == publish.parent.span_id
    assert [publish.context.span_id] == [link.context.span_id for link in unit.links]
    assert unit.parent is None
    assert "process survey" == unit.name
    named = {name: unit.attributes[f"factorline.{name}"] for name in ("number", "digits")}
    assert about(NUMBER) == named
    assert not any(str(NUMBER) in span.to_json() for span in (request, publish, unit))


@pytest.mark.parametrize("flag", ["00", "01"])
@pytest.mark.parametrize(
    ("sampler", "trusted", "recorded"),
    [
        (ALWAYS_OFF, False, {"00": 0, "01": 0}),
        (ALWAYS_ON, False, {"00": 1, "01": 1}),
        (ALWAYS_OFF, True, {"00": 0, "01": 1}),
        (ALWAYS_ON, True, {"00": 0, "01": 1}),
    ],
)
def test_a_stranger_does_not_decide_what_is_recorded(
    monkeypatch: pytest.MonkeyPatch,
    sampler: Sampler,
    *,
    trusted: bool,
    recorded: dict[str, int],
    flag: str,
) -> None:
    """Its flag counts only where the operator trusts traces; otherwise our own sampler decides."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(sampler=ParentBased(sampler))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    caller = {"traceparent": f"00-{TRACE}-{PARENT}-{flag}"}
    with tracing.serving("GET", "/tasks", caller, trusted=trusted):
        pass
    spans = exporter.get_finished_spans()

    assert recorded[flag] == len(spans)
    for span in spans:
        assert trusted == (span.parent is not None)
        assert trusted or [int(TRACE, 16)] == [link.context.trace_id for link in span.links]


def test_unrecorded_a_callers_trace_is_handed_on() -> None:
    """Nobody here records spans, but whoever gets the units may; without a caller there is no trace."""
    traces = []
    for parent in ({"traceparent": f"00-{TRACE}-{PARENT}-01"}, {}):
        serving = tracing.serving("POST", "/factor", parent, trusted=False)
        with serving, tracing.publishing("memory", []) as sent:
            traces.append(sent.get("traceparent", "").split("-")[1:2])

    assert [[TRACE], []] == traces


async def test_spans_reach_a_collector() -> None:
    """The standard variable is all it takes; the last spans are sent before the program ends."""
    received: list[bytes] = []

    async def collect(request: web.Request) -> web.Response:
        received.append(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", collect)
    async with TestServer(app) as collector:
        process = start(OTEL_EXPORTER_OTLP_ENDPOINT=str(collector.make_url("/")))
        await waiting.until(lambda: process.poll() is not None, "its end", seconds=30)
        assert (0, "") == (process.returncode, read(process))

    [spans] = received
    assert all(words in spans for words in (b"GET /healthz", b"factorline-test", b"number-7"))


def test_without_the_sdk_a_collector_is_refused() -> None:
    """Nobody is left to wonder where the spans are."""
    missing = "opentelemetry.exporter.otlp.proto.http"
    process = start(missing, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318")

    assert "requirements-tracing.lock" in read(process)
    assert 1 == process.wait()
    unasked = start(missing)
    assert ("", 0) == (read(unasked), unasked.wait())


def start(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    """Start the program above."""
    return subprocess.Popen(  # noqa: S603 the text above
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        env={**os.environ, **environ},
        stderr=subprocess.PIPE,
        text=True,
    )


def read(process: subprocess.Popen[str]) -> str:
    """Return what a program says until its end."""
    _, said = process.communicate()
    return said
