"""`make docs`: generates pages of docs/reference from the code that they describe."""

import ast
import inspect
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from prometheus_client import Counter, Gauge, Histogram

from common.broker.rabbit import topology
from common.domain import BigInt, Control, Event, Versioned, units
from common.runtime import metrics as shared_metrics
from common.runtime import settings
from factor_worker import metrics as worker_metrics
from gateway import metrics as gateway_metrics
from gateway.api.openapi import path_of
from gateway.api.routes import ROUTES, Route
from gateway.views import models
from gateway.views.problems import KINDS

FOLDER = Path(__file__).parents[2] / "docs" / "reference"

SETTINGS = """# Settings

`make docs` makes this page from `common/runtime/settings.py`. Each setting is an environment variable.
If a program cannot use the value of one, it stops and names the variable.

| variable | default | meaning |
|---|---|---|
"""
METRICS = """# Metrics

`make docs` makes this page from the programs. `GET /metrics` answers in Prometheus's text format: on a
gateway's own address (with `make run` it includes the worker's metrics), and on the address that
`FACTORLINE_METRICS` gives to a gateway or a worker. [How to operate it](../how-to/operate.md) says which
metrics to look at.

| metric | labels | meaning |
|---|---|---|
"""
HTTP = """# HTTP

`make docs` makes this page from the table of calls. A running service describes every member of every
answer: `/openapi.json` for programs, `/docs` for people. `GET /ws` is [the WebSocket](websocket.md).

Bodies are read as JSON, whatever their `Content-Type`. A number is an integer, or a string with digits
or an expression: `1234`, `"1234"`, `"2^128+1"`. Large integers come back as strings. `If-None-Match`
with the `ETag` of a task is answered with 304 while the task has not changed; with `?wait=` the answer
comes as soon as it has. Every call that takes GET also takes HEAD.

A query parameter that a call does not read is refused, and the answer names those that it does. Pages
take any.

## Connections

The header of a request has 10 seconds, and its body 60; after that it is answered with 408. A connection
that waits for its client for 75 seconds is closed, and so is one whose client does not read its answer.
Of one address, at most 256 connections may have a request still to come or to come to its end: the next
one closes the one that has waited longest. (Of IPv6, the first 64 bits count as one address.)

A body is sent as it is: one with a `Content-Encoding` is answered with 415. If a request is refused before
its body has arrived, the connection closes after the answer. A client that sends `Expect: 100-continue`
is asked for the body only if it is wanted.

A request line and a header field may have 8190 bytes, and a header 128 fields and 64 KB. Long
numbers belong into the body of `POST /factor`.

A key may have 200 requests that wait (`?wait=`, `Prefer: wait=`) in each gateway. One more is answered at
once with what is known, without `Preference-Applied`; its `Retry-After` says when to ask again. WebSockets
and their subscriptions are also counted for each gateway, not over all of them.

`GET /` answers `curl` with `Hello Factor app!`, and a browser with the page.

## Web pages

The page of another site gets 403 `origin-refused`, whatever it asks for; only a link to the service is
followed. `FACTORLINE_ORIGINS` lists the sites whose pages may call the service (CORS). They may read
`Allow`, `ETag`, `Location`, `Preference-Applied`, `RateLimit`, `RateLimit-Policy`, `Retry-After` and
`WWW-Authenticate`, and show their key in `Authorization` or in the first frame of a WebSocket; cookies
play no part. An answer that a balancer gives in place of the service has no CORS headers.

A service without keys answers to `localhost`, loopback addresses and the names in `FACTORLINE_HOSTS`, so
that no attacker's name can be pointed at it. Under any other name, every call but `/healthz` and
`/readyz` is answered with 421 `host-refused`.

## Calls
"""
TASK = """
## A task

This is what `POST /factor`, `GET /tasks/{task_id}` and the frames of the WebSocket contain.

| member | meaning |
|---|---|
"""
STATUSES = """
`status` is one of `queued`, `running`, `succeeded`, `partial` (a composite is left), `failed` and
`cancelled`. The last four are final. To see whether a task has ended, look at `done`: it stays right if
a later version adds a status.

## Problems

Every error is an RFC 9457 problem with `type`, `title`, `status` and `detail`. The detail says what
happened and what to do. `GET` on the type's address explains it.

| type | status | meaning | what to do |
|---|---|---|---|
"""
MESSAGES = """# Messages

`make docs` makes this page from the programs. It describes what gateways and workers send each other
through RabbitMQ. Clients need none of it: they use [HTTP](http.md) and [the WebSocket](websocket.md).
Integers that may be large are decimal strings. `v` is the major version of the layout: readers ignore
members that they do not know, and refuse another version.

## Queues

Every program whose RabbitMQ user may declare queues does so; the others check that the queues exist. All
are durable.

| queue | arguments |
|---|---|
"""
EXCHANGES = """
Units are published to the default exchange, with the queue as routing key: persistent, `mandatory`, and
with publisher confirms. A worker acknowledges a unit when everything that follows from it has been
stored and published.

| exchange | type | holds |
|---|---|---|
| `{events}` | {events_type} | events to every gateway; the routing key is a digest of the number |
| `{control}` | {control_type} | control messages to every worker |

Each reader of an exchange has a queue of its own, named by the server, `exclusive` and `auto_delete`,
which keeps the newest {kept} messages. These messages are hints and may be lost; the store is what
counts.
"""
SURVEY_EXAMPLE = 2**128 + 1


def settings_page() -> str:
    """Return the page of settings: each field with its default as written in the code, and its docstring."""
    [body] = [
        node.body
        for node in ast.parse(inspect.getsource(settings)).body
        if isinstance(node, ast.ClassDef) and node.name == settings.Settings.__name__
    ]
    rows = []
    for field, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and field.value is not None:
            name = f"FACTORLINE_{ast.unparse(field.target).upper()}"
            rows.append(f"| `{name}` | `{ast.unparse(field.value)}` | {_docstring(after)} |\n")
    return SETTINGS + "".join(rows)


def _docstring(node: ast.stmt | None) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split())
    raise ValueError("a setting has no docstring: write one below it")


def metrics_page() -> str:
    """Return the page of metrics."""
    rows = [
        f"| `{name}` | {labels or '-'} | {help_} |\n"
        for module in (gateway_metrics, worker_metrics, shared_metrics)
        for name, labels, help_ in _metrics(vars(module).values())
    ]
    return METRICS + "".join(rows)


def _metrics(values: Iterable[object]) -> Iterator[tuple[str, str, str]]:
    for metric in values:
        if isinstance(metric, Counter | Gauge | Histogram):
            [family] = metric.describe()
            suffix = "_total" if isinstance(metric, Counter) else ""
            yield family.name + suffix, " ".join(metric._labelnames), family.documentation  # noqa: SLF001 nowhere else


def http_page() -> str:
    """Return the page of calls, tasks and problems."""
    sections = "".join(_call(route) for route in ROUTES)
    members = "".join(
        f"| `{name}` | {says or ''} |\n" for name, says in _members(models.TaskView).items()
    )
    problems = "".join(
        f"| `/problems/{kind.name}` | {kind.status} | {kind.title} | {kind.advice} |\n"
        for kind in KINDS.values()
    )
    page = HTTP + sections + TASK + members + STATUSES + problems
    return page.replace("``", "`")


def _call(route: Route) -> str:
    summary = inspect.cleandoc(route.handler.__doc__ or "").split("\n", 1)[0]
    lines = [f"\n### `{route.method} {path_of(route)}`\n\n{summary}\n\n| | |\n|---|---|\n"]
    if route.body is not None:
        members = ", ".join(f"`{name}`" for name in route.body.__struct_fields__)
        lines.append(f"| body | an object with {members}. {_summary(route.body)} |\n")
    lines += [
        f"| `{parameter.name}` ({parameter.where}) | {parameter.says} |\n"
        for parameter in route.parameters
    ]
    for status, answer in route.answers.items():
        says = _summary(answer) if isinstance(answer, type) else f"`{answer}`"
        lines.append(f"| {status} | {says if answer else 'No body.'} |\n")
    if route.problems:
        names = ", ".join(f"`{name}`" for name in route.problems)
        lines.append(f"| [problems](#problems) | {names} |\n")
    return "".join(lines)


def _summary(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "").split("\n", 1)[0]


def _members(kind: type[msgspec.Struct]) -> dict[str, str | None]:
    """Return encoded member name → the docstring below the member, or the first line of its type's."""
    [body] = [
        node.body
        for node in ast.parse(inspect.getsource(kind)).body
        if isinstance(node, ast.ClassDef)
    ]
    says: dict[str, str | None] = {}
    for field, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            match after:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    says[ast.unparse(field.target)] = " ".join(text.split())
                case _:
                    says[ast.unparse(field.target)] = None
    names = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    inner = {"factors": models.Factor, "composites": models.Composite, "progress": models.Progress}
    return {
        encoded: says[name] or (_summary(inner[name]) if name in inner else "")
        for name, encoded in names
    }


def messages_page() -> str:
    """Return the page of queues, exchanges and their messages."""
    rows = []
    for queue in topology.QUEUES:
        arguments = ", ".join(f"`{name}={value!r}`" for name, value in queue.arguments.items())
        rows.append(f"| `{queue.name}` | {arguments} |\n")
    exchanges = EXCHANGES.format(
        events=topology.EVENTS,
        control=topology.CONTROL,
        events_type=topology.EXCHANGES[topology.EVENTS],
        control_type=topology.EXCHANGES[topology.CONTROL],
        kept=f"{topology.HINTS_KEPT:,}".replace(",", " "),
    )
    return MESSAGES + "".join(rows) + exchanges + "".join(_messages())


def _messages() -> Iterator[str]:
    number = BigInt(SURVEY_EXAMPLE)
    parameters = {"multiplier": 1}
    works: list[units.Work] = [
        units.Survey(number),
        units.Curves(number, units.Method.ECM, 50_000, 6, 25),
        units.Whole(number),
        units.Sieve(number, parameters, 0, 64),
        units.Solve(number, parameters),
        units.Prove(number),
    ]
    yield f"\n## Units\n\n{_summary(units.Unit)}\n"
    for work in works:
        unit = units.Unit(unit_id="7f3c…", number=number, work=work)
        yield f"\n### `{unit.kind}`\n\n{_summary(type(work))}\n\n{_example(unit)}"
    yield "\nA real message has all parameters of a sieve; here they are shortened.\n"
    event = Event(number=number, version=17, urgent=True)
    yield f"\n## Events\n\n{_summary(Event)}\n\n{_example(event)}"
    yield f"\n## Control\n\n{_summary(Control)}\n\n{_example(Control(number=number))}"


def _example(message: Versioned) -> str:
    shown = json.dumps(json.loads(message.encode()), ensure_ascii=False)
    return f"```json\n{shown}\n```\n"


PAGES = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "http.md": http_page,
    "messages.md": messages_page,
}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())


if __name__ == "__main__":
    main()
