"""How a process tells what it does: one JSON object a line, or words for a person at a terminal.

Modules log through ``log = structlog.stdlib.get_logger(__name__)``: a sentence that never changes, and
what it is about as keywords. `about` names a number by digest and size: its digits do not belong in a log.
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
"""Digits in a row that a line may hold; more are a number, and its size stands for them."""
LONGEST_VALUE = 1000
"""Characters of one value, or of one line of a traceback."""
TRACEBACK_LINES = 100

_TRACEBACKS = {"exception", "stack"}

_LONG_NUMBER = re.compile(rf"[0-9]{{{LONGEST_RUN + 1},}}", re.ASCII)
# C0 and C1 controls, line separators, and marks that reorder text on a screen (CVE-2021-42574).
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def about(number: int) -> dict[str, Any]:
    """Return the fields that name a number in a log line: ``number`` (its digest) and ``digits``."""
    return {"number": digest_of(number), "digits": len(str(abs(int(number))))}


def configure_logging(settings: Settings, stream: TextIO = sys.stderr) -> None:
    """Send log lines of the configured level and above to a stream, those of libraries included."""
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
    level, renderers = settings.log_level.upper(), _renderers(person=stream.isatty())
    # Our own lines do not go through the standard library, which takes as long again for each.
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
    logging.getLogger("aiohttp.server").addFilter(_is_our_fault)


class _Lines(structlog.WriteLogger):
    """Writes the lines of one module."""

    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(stream)
        self.name = name


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Leave out the traceback that aiohttp logs for bytes that are no HTTP: anybody can send them."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__module__ != "aiohttp.http_exceptions"


def _renderers(*, person: bool) -> list[Processor]:
    if not person:
        return [structlog.processors.JSONRenderer(json.dumps)]
    plain = structlog.dev.plain_traceback
    return [
        _traceback_for_a_person,
        structlog.dev.ConsoleRenderer(sort_keys=False, exception_formatter=plain),
    ]


class _Name:
    """Says which process a line is of."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        event["process"] = self._name
        return event


def _trace_ids(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Add the ids of the trace that the line belongs to, if there is one."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def _harmless(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Make sure that no value forges a line, steers a terminal, or is a thousand digits long."""
    return {
        name: value
        if name.startswith("_")  # what structlog hands through, not for anybody's eyes
        else [tamed(line) for line in str(value).splitlines()[-TRACEBACK_LINES:]]
        if name in _TRACEBACKS
        else tamed(value)
        for name, value in event.items()
    }


def tamed(value: object) -> object:
    """Return what a log line may hold of a value."""
    if isinstance(value, str) and len(value) <= LONGEST_RUN and value.isprintable():
        return value  # nearly everything
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):  # Python writes no integer of more than 4 300 digits
        return value if abs(value) < 1 << 63 else f"<{value.bit_length()} bits>"
    if isinstance(value, dict):
        return {str(tamed(key)): tamed(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [tamed(each) for each in value]
    text = _LONG_NUMBER.sub(lambda run: f"<{len(run[0])} digits>", str(value))
    if len(text) > LONGEST_VALUE:
        text = f"{text[: LONGEST_VALUE // 2]} … {text[-LONGEST_VALUE // 2 :]}"
    return _UNPRINTABLE.sub(lambda mark: ascii(mark[0])[1:-1], text)


def _traceback_for_a_person(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Set a traceback off with a rule, so that no line of it looks like a line of the log."""
    for name in _TRACEBACKS & event.keys():
        event[name] = "\n".join(f"  | {line}" for line in event[name])
    return event
