"""Logging: one JSON object per line, or readable text if a person watches at a terminal.

Modules log through ``log = structlog.stdlib.get_logger(__name__)``: a constant sentence, with the details as
keywords. `about` names a number by its digest and size, because its digits do not belong in a log:

    log.info("Task accepted", task_id=task.task_id, **about(task.number))
"""

import functools
import json
import logging
import re
import sys
from typing import Any, TextIO

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor

from common.domain import digest_of
from common.runtime.settings import Settings

LONGEST_RUN = 40
"""Digits in a row that a line may contain. A longer run is replaced by its length."""
LONGEST_VALUE = 1000
"""The most characters of one value, or of one line of a traceback."""
TRACEBACK_LINES = 100

_TRACEBACKS = {"exception", "stack"}

_LONG_NUMBER = re.compile(rf"[0-9]{{{LONGEST_RUN + 1},}}", re.ASCII)
# C0 and C1 control characters, line separators, and marks that reorder text on a screen (CVE-2021-42574).
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def about(number: int) -> dict[str, Any]:
    """Return the fields that name a number in a log line: ``number`` (its digest) and ``digits``."""
    return {"number": digest_of(number), "digits": len(str(abs(int(number))))}


def configure_logging(settings: Settings, stream: TextIO = sys.stderr) -> None:
    """Send log lines of the configured level and above to a stream, including those of libraries."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _trace_ids,
    ]
    if settings.name:
        shared.append(_Name(settings.name))
    shared.append(_harmless)
    level, renderers = settings.log_level.upper(), _renderers(for_person=stream.isatty())
    # Our own lines bypass the standard library, which would take as long again for each.
    structlog.configure(
        processors=[*shared, *renderers],
        logger_factory=functools.partial(_Lines, stream),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *renderers,
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger("aiohttp.server").addFilter(_is_not_bad_http)


class _Lines(structlog.WriteLogger):
    """Writes the lines of one module."""

    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(stream)
        self.name = name


def _is_not_bad_http(record: logging.LogRecord) -> bool:
    """Drop the traceback that aiohttp logs for bytes that are not HTTP: anybody can send those."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__module__ != "aiohttp.http_exceptions"


def _renderers(*, for_person: bool) -> list[Processor]:
    if not for_person:
        return [structlog.processors.JSONRenderer(json.dumps)]
    plain = structlog.dev.plain_traceback
    return [
        _traceback_for_a_person,
        structlog.dev.ConsoleRenderer(sort_keys=False, exception_formatter=plain),
    ]


class _Name:
    """Adds the name of the process to each line."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        event["process"] = self._name
        return event


def _trace_ids(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Add the ids of the trace that the line belongs to, if any."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def _harmless(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Make sure that no value can forge a line, control a terminal, or be a thousand digits long."""
    return {
        name: value
        if name.startswith("_")  # structlog's own, which no renderer shows
        else [sanitized(line) for line in str(value).splitlines()[-TRACEBACK_LINES:]]
        if name in _TRACEBACKS
        else sanitized(value)
        for name, value in event.items()
    }


def sanitized(value: object) -> object:
    """Return a value as a log line may contain it."""
    if isinstance(value, str) and len(value) <= LONGEST_RUN and value.isprintable():
        return value  # nearly always
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):  # Python refuses to print integers of more than 4 300 digits
        return value if abs(value) < 1 << 63 else f"<{value.bit_length()} bits>"
    if isinstance(value, dict):
        return {str(sanitized(key)): sanitized(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [sanitized(each) for each in value]
    text = _LONG_NUMBER.sub(lambda run: f"<{len(run[0])} digits>", str(value))
    if len(text) > LONGEST_VALUE:
        text = f"{text[: LONGEST_VALUE // 2]} … {text[-LONGEST_VALUE // 2 :]}"
    return _UNPRINTABLE.sub(lambda mark: ascii(mark[0])[1:-1], text)


def _traceback_for_a_person(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Indent a traceback with a bar, so that no line of it looks like a line of the log."""
    for name in _TRACEBACKS & event.keys():
        event[name] = "\n".join(f"  | {line}" for line in event[name])
    return event
