"""A log line says what happened and is harmless, whatever was logged."""

import json
import os
import pty
import subprocess
import sys
import unicodedata
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from common import errors
from common.runtime.logs import LONGEST_RUN, about, sanitized
from common.runtime.settings import Settings
from infra.local.programs import ROOT

PROGRAM = """
import logging, sys, structlog
from aiohttp.http_exceptions import BadHttpMessage
from common.runtime import tracing
from common.runtime.logs import about, configure_logging
from common.runtime.settings import Settings
configure_logging(Settings(name="worker-7"), sys.stderr)
log = structlog.stdlib.get_logger("program")
log.debug("nobody asked for this")
log.info("A unit was stopped", unit_id="u-1", **about(-(10**999)))
logging.getLogger("library").warning("GET %s", "/\\n{} \\x1b[2J")
logging.getLogger("aiohttp.server").error("no HTTP", exc_info=BadHttpMessage("junk"))
with tracing.serving("GET", "/", {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}, trusted=False):
    log.info("in a trace")
try:
    raise ValueError("first\\n{second} " + "7" * 1000)
except ValueError:
    log.exception("A message could not be handled")
"""


def run(stderr: int, program: str = PROGRAM) -> subprocess.Popen[bytes]:
    """Start a program that logs many kinds of values."""
    return subprocess.Popen(  # noqa: S603 the text above
        [sys.executable, "-c", program], cwd=ROOT, env={**os.environ}, stderr=stderr
    )


def test_the_audit_log_comes_at_every_level() -> None:
    """An operator who wants to hear of errors alone must not lose it."""
    program = PROGRAM.replace('name="worker-7"', 'log_level="ERROR"')
    program += "\nfrom common.runtime import audit\naudit.record('Task cancelled', owner='ann', sockets=0)\n"
    _, logged = run(subprocess.PIPE, program).communicate()
    line = json.loads(logged.splitlines()[-1])

    assert ("factorline.audit", "Task cancelled", "ann") == tuple(
        line[name] for name in ("logger", "event", "owner")
    )
    assert "sockets" not in line


def lines_of_a_machine() -> list[dict[str, Any]]:
    """Return what the program logs when its output is not a terminal."""
    _, logged = run(subprocess.PIPE).communicate()
    return [json.loads(line) for line in logged.splitlines()]


def test_a_line_is_an_object_with_its_ids() -> None:
    """Each event is one line, a number appears as its digest and size, and libraries log the same way."""
    unit, library, traced, fault = lines_of_a_machine()

    ids = {"unit_id": "u-1", "digits": 1000, "level": "info", "process": "worker-7"}
    assert ids == {name: unit[name] for name in ids}
    assert (16, "A unit was stopped") == (len(unit["number"]), unit["event"])
    assert ("library", "warning") == (library["logger"], library["level"])
    assert "GET /\\n{} \\x1b[2J" == library["event"]
    assert ("a" * 32, "b" * 16) == (traced["trace_id"], traced["span_id"])
    assert "ValueError: first" in fault["exception"]
    assert "{second} <1000 digits>" in fault["exception"]


def test_a_terminal_gets_readable_lines() -> None:
    """They have colours instead of braces, and no line comes from a logged value."""
    ours, theirs = pty.openpty()
    process = run(theirs)
    os.close(theirs)
    shown = b""
    try:
        while more := os.read(ours, 65_536):
            shown += more
    except OSError:  # Linux's word for the end of a terminal
        pass
    finally:
        os.close(ours)
        process.wait()
    first, second, _traced, third, *traceback = shown.decode().splitlines()

    assert "A unit was stopped" in first
    assert "GET /\\n{} \\x1b[2J" in second
    assert "\x1b[2J" not in second
    assert "could not be handled" in third
    assert all(line.startswith("  | ") for line in traceback)


@hypothesis.given(st.recursive(st.text() | st.integers() | st.binary() | st.none(), st.lists))
def test_nothing_that_is_logged_can_steer_a_terminal(value: object) -> None:
    """No control character is left, and no long run of digits."""
    text = json.dumps(sanitized(value), ensure_ascii=False)

    assert not [char for char in text if unicodedata.category(char) == "Cc"]
    runs = "".join(char if char in "0123456789" else " " for char in text).split()
    assert all(len(run) <= LONGEST_RUN for run in runs)


def test_integers_of_any_size_are_safe() -> None:
    """Python itself refuses to format the largest ones."""
    assert "<33220 bits>" == sanitized(10**10_000)
    assert sanitized(1 << 62) == 1 << 62
    assert about(7) == about(7)
    assert about(7) != about(8)


@pytest.mark.parametrize(
    ("given", "address"),
    [("127.0.0.1:9100", ("127.0.0.1", 9100)), ("[::1]:9100", ("::1", 9100)), ("", None)],
)
def test_metrics_are_shown_on_a_host_and_port(given: str, address: tuple[str, int] | None) -> None:
    """Without a setting they are shown nowhere."""
    settings = Settings.from_environ({"FACTORLINE_METRICS": given})

    assert address == settings.metrics_address


@pytest.mark.parametrize("given", ["9100", "localhost", "localhost:", ":9100", "x:123456"])
def test_an_address_that_cannot_show_metrics_is_refused(given: str) -> None:
    """The message names the variable."""
    with pytest.raises(errors.SettingError, match=f"FACTORLINE_METRICS cannot be '{given}'"):
        Settings.from_environ({"FACTORLINE_METRICS": given})
