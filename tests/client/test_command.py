"""The command `factorline` as people and scripts run it: terminal, pipe, JSON, exit statuses."""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from factorline import Client, SyncClient
from factorline.command.app import app
from factorline.command.exits import Exit
from infra.local.processes import free_ports
from infra.local.programs import ROOT, answers
from tests import waiting
from tests.client.conftest import hard_number
from tests.client.test_client import NOBODY

SECONDS = 60


def environ(url: str, **more: str) -> dict[str, str]:
    """Return an environment for the command that does not depend on that of the tests."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("FACTORLINE")}
    return {**own, "FACTORLINE_URL": url, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **more}


def factorline(
    url: str, *arguments: str, stdin: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a pipe."""
    return subprocess.run(  # noqa: S603 our own command
        [sys.executable, "-m", "factorline", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=environ(url, **more),
        timeout=SECONDS,
        check=False,
    )


def started(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the command in a folder and leave it running."""
    return subprocess.Popen(  # noqa: S603 our own command
        [sys.executable, "-m", "factorline", *arguments],
        env=environ("", FACTORLINE_SLOTS="1"),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _hear_sigint() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Terminal:
    """The command on a pseudo-terminal, with everything that it has written there so far."""

    def __init__(self, url: str, *arguments: str) -> None:
        self._master, slave = os.openpty()
        self.process = subprocess.Popen(  # noqa: S603 our own command
            [sys.executable, "-m", "factorline", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ(url, TERM="xterm-256color", LINES="40"),
            start_new_session=True,
            # A shell that runs the tests in the background ignores SIGINT, and children inherit that.
            preexec_fn=_hear_sigint,  # noqa: PLW1509 one system call
        )
        os.close(slave)
        self.written = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the end of a terminal, on Linux
            while data := os.read(self._master, 4096):
                self.written += data.decode(errors="replace")

    async def shows(self, text: str) -> None:
        """Return when a text has been written."""
        await waiting.until(lambda: text in self.written, text, seconds=SECONDS)

    async def ended(self) -> int:
        """Return the exit status when the command ends."""
        await waiting.until(lambda: self.process.poll() is not None, "the end", seconds=SECONDS)
        self._reader.join()
        os.close(self._master)
        return int(self.process.returncode)


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("1234", "1234 = 2 * 617"),
        ("-15", "-15 = -1 * 3 * 5"),
        ("-2^4+1", "-15 = -1 * 3 * 5"),
        ("(2^10)", "1024 = 2^10"),
        ("5!", "120 = 2^3 * 3 * 5"),
        ("0", "0 = 0"),
        ("1", "1 = 1"),
        ("-1", "-1 = -1"),
    ],
)
def test_submit_and_wait_prints_the_answer(url: str, number: str, answer: str) -> None:
    """The standard output is one line, and its right side is an expression that the service can read."""
    ran = factorline(url, "submit", number, "--wait")

    assert (f"{answer}\n", "", Exit.OK) == (ran.stdout, ran.stderr, ran.returncode)


def test_a_task_from_submission_to_cancellation(url: str) -> None:
    """The other verbs take the id that `submit` prints."""
    task_id = factorline(url, "submit", hard_number("way")).stdout.strip()
    got = factorline(url, "get", task_id)
    listed = factorline(url, "list", "--newest", "1")
    cancelled = factorline(url, "cancel", task_id)
    watched = factorline(url, "watch", task_id)

    assert f"task       {task_id}\n" in got.stdout
    assert listed.stdout.startswith(task_id)
    assert "cancelled on request" in cancelled.stdout
    assert (cancelled.stdout, Exit.INCOMPLETE) == (watched.stdout, watched.returncode)

    erased = factorline(url, "erase", task_id)
    assert ("Erased 1 task.\n", Exit.OK) == (erased.stdout, erased.returncode)
    assert Exit.NO_SUCH_TASK == factorline(url, "get", task_id).returncode
    assert factorline(url, "erase", "--all").stdout.startswith("Erased ")
    assert "--all" in factorline(url, "erase").stderr


def test_everything_has_json(url: str) -> None:
    """With --json every line of output is a value, and a task looks the same everywhere."""

    def values(*arguments: str, stdin: str = "") -> list[Any]:
        ran = factorline(url, *arguments, "--json", stdin=stdin)
        return [json.loads(line) for line in ran.stdout.splitlines()]

    [task] = values("submit", "91")
    [watched] = values("watch", task["task_id"])[-1:]
    assert ("7,13", True) == (watched["result"], watched["done"])
    assert [watched] == values("get", task["task_id"]) == values("cancel", task["task_id"])
    assert [watched] == values("list", "-n", "1")
    assert [watched["result"]] == [value["result"] for value in values("submit", "91", "-w")]
    assert ["FF"] == [value["status"] for value in values("known", "91")]
    rows = values("batch", "-", stdin="91\nabc\n")
    assert ["7,13", None] == [row["task"] and row["task"]["result"] for row in rows]
    assert "not-a-number" in rows[1]["problem"]["type"]
    assert {"gateway", "readiness", "websocket", "your tasks", "ecm"} == {
        value["what"] for value in values("doctor")
    }


def test_errors_have_json_too(url: str) -> None:
    """They go to the error output, so that the standard output holds only values."""
    ran = factorline(url, "get", NOBODY, "--json")

    assert "" == ran.stdout
    assert "UnknownTask" == json.loads(ran.stderr)["error"]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["submit", "abc"], Exit.WRONG_INPUT, "'a' is not part of an integer"),
        (["submit", "1/0", "--wait"], Exit.WRONG_INPUT, "zero"),
        (["submit", ""], Exit.WRONG_INPUT, "empty"),
        (["submit", "--wiat", "15"], Exit.WRONG_INPUT, "no such option: --wiat"),
        (["submit"], Exit.WRONG_INPUT, "NUMBER"),
        (["known", "9^9^9^9"], Exit.WRONG_INPUT, "smaller expression"),
        (["nonsense"], Exit.WRONG_INPUT, "nonsense"),
        (["get", NOBODY], Exit.NO_SUCH_TASK, "no task"),
        (["watch", "x"], Exit.NO_SUCH_TASK, "no task"),
        (["cancel", "../.."], Exit.NO_SUCH_TASK, "no task"),
        (["batch", "/does/not/exist"], Exit.WRONG_INPUT, "No such file"),
        (["batch", "-", "--out", "/does/not/exist"], Exit.WRONG_INPUT, "No such file"),
    ],
)
def test_errors_have_a_message_and_a_status(
    url: str, arguments: list[str], status: Exit, says: str
) -> None:
    """Nothing is printed on the standard output, and there is no traceback."""
    ran = factorline(url, *arguments)

    assert ("", status) == (ran.stdout, ran.returncode)
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("verb", ["submit", "get", "list", "watch", "cancel", "known", "batch"])
def test_no_service_is_running(verb: str) -> None:
    """Every verb names the URL and the variable that sets it."""
    [port] = free_ports(1)
    arguments = {"list": [], "batch": ["-"]}.get(verb, ["15"])
    ran = factorline(f"http://127.0.0.1:{port}", verb, *arguments, stdin="15\n")

    assert Exit.UNAVAILABLE == ran.returncode
    assert f"No answer from http://127.0.0.1:{port}" in ran.stderr
    assert "FACTORLINE_URL" in ran.stderr


def test_a_wrong_url_is_reported(url: str) -> None:
    """An invalid URL is wrong input; one that another program answers is an unavailable service."""
    none = factorline("localhost:8080", "list")
    other = factorline(f"{url}/docs", "list")

    assert (Exit.WRONG_INPUT, "") == (none.returncode, none.stdout)
    assert "'localhost:8080' is not a valid service URL" in none.stderr
    assert (Exit.UNAVAILABLE, "") == (other.returncode, other.stdout)
    assert "is not Factorline" in other.stderr


def test_a_timeout(url: str) -> None:
    """The task goes on, and the status says so."""
    ran = factorline(url, "submit", hard_number("limit"), "--wait", "--timeout", "0.2")
    [task_id] = re.findall(r"Task (\S+) is not done", ran.stderr)
    state = json.loads(factorline(url, "get", task_id, "--json").stdout)
    factorline(url, "cancel", task_id)

    assert (Exit.STILL_RUNNING, "") == (ran.returncode, ran.stdout)
    assert not state["done"]


def test_progress_in_a_pipe_is_lines(url: str) -> None:
    """They have no control characters, and --quiet prints none of them."""
    number = hard_number("lines")
    for quiet in ([], ["--quiet"]):
        ran = factorline(url, "submit", number, "--wait", "--timeout", "0.5", *quiet)
        with SyncClient(url) as client:
            client.cancel(next(client.list(newest=1)).task_id)
        *progress, error, advice, _ = ran.stderr.splitlines()

        assert bool(progress) == (not quiet)
        assert "not done after 0.5 s" in error
        assert "factorline watch" in advice
        assert "\x1b" not in ran.stderr
        assert "\r" not in ran.stderr


async def test_ctrl_c_leaves_the_task_and_says_how_to_come_back(url: str) -> None:
    """The terminal shows bars and, after Ctrl-C, the command to type."""
    terminal = Terminal(url, "submit", hard_number("ctrl-c"), "--wait")
    await terminal.shows("elliptic curves")
    terminal.process.send_signal(signal.SIGINT)

    assert Exit.INTERRUPTED == await terminal.ended()
    [task_id] = re.findall(r"factorline watch (\S+)", terminal.written)
    assert "Traceback" not in terminal.written
    async with Client(url) as client:
        assert not (await client.get(task_id)).done
        await client.cancel(task_id)


async def test_ctrl_c_in_watch(url: str) -> None:
    """The same for a task that was submitted before."""
    task_id = factorline(url, "submit", hard_number("ctrl-c")).stdout.strip()
    terminal = Terminal(url, "watch", task_id)
    await terminal.shows("digits")
    terminal.process.send_signal(signal.SIGINT)

    assert Exit.INTERRUPTED == await terminal.ended()
    assert f"factorline watch {task_id}" in terminal.written
    factorline(url, "cancel", task_id)


async def test_an_answer_on_a_terminal(url: str) -> None:
    """The answer replaces the bars."""
    terminal = Terminal(url, "submit", "2^101-1", "--wait")

    assert Exit.OK == await terminal.ended()
    assert "= 7432339208719 * 341117531003194129" in terminal.written


def test_a_batch_is_csv_in_order(url: str, tmp_path: Path) -> None:
    """Blank lines and comments are skipped; a bad line has a row, and the exit status reports it."""
    source, target = tmp_path / "in.txt", tmp_path / "out.csv"
    source.write_text("2^67-1\n\n# a comment\nabc\n -15 \n0\n")
    ran = factorline(url, "batch", str(source), "--out", str(target))
    rows = list(csv.DictReader(target.read_text().splitlines()))

    assert ("", Exit.INCOMPLETE) == (ran.stdout, ran.returncode)
    assert ["2^67-1", "abc", "-15", "0"] == [row["input"] for row in rows]
    assert ["193707721,761838257287", "", "-1,3,5", "0"] == [row["result"] for row in rows]
    assert ["succeeded", "refused", "succeeded", "succeeded"] == [row["status"] for row in rows]
    assert "not part of an integer" in rows[1]["reason"]


def test_a_batch_of_good_numbers_from_a_pipe(url: str) -> None:
    """The status is 0, with a row for each number; an empty batch has only the header."""
    numbers = "\n".join(str(number) for number in range(2, 102))
    ran = factorline(url, "batch", "-", stdin=numbers)
    empty = factorline(url, "batch", "-", stdin="")

    assert (101, Exit.OK, "") == (len(ran.stdout.splitlines()), ran.returncode, ran.stderr)
    assert (1, Exit.OK) == (len(empty.stdout.splitlines()), empty.returncode)


def test_a_closed_pipe(url: str) -> None:
    """A reader that goes away, such as `head`, causes no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [sys.executable, "-m", "factorline", "known", "15"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env=environ(url),
        timeout=SECONDS,
        check=False,
    )
    os.close(writing)

    assert "Traceback" not in ran.stderr
    assert 0 != ran.returncode


def test_doctor_finds_what_is_wrong(url: str) -> None:
    """Each fault has a line that says WRONG and what to do; passwords are never shown."""
    [port] = free_ports(1)
    amqp, mongo = (f"{kind}://me:secret@127.0.0.1:{port}/" for kind in ("amqp", "mongodb"))
    well = factorline(url, "doctor")
    ill = factorline(
        f"http://127.0.0.1:{port}",
        "doctor",
        FACTORLINE_AMQP_URL=amqp,
        FACTORLINE_MONGODB_URI=mongo,
    )

    assert (Exit.OK, "") == (well.returncode, well.stderr)
    assert "WRONG" not in well.stdout
    assert (Exit.INCOMPLETE, "") == (ill.returncode, ill.stderr)
    assert ["gateway", "rabbitmq", "mongodb"] == re.findall(r"WRONG (\w+)", ill.stdout)
    assert "secret" not in ill.stdout


async def test_serve_runs_the_service(tmp_path: Path) -> None:
    """`factorline serve` answers requests, and SIGTERM ends it with status 0."""
    [port] = free_ports(1)
    process = started(tmp_path, "serve", "--port", str(port))
    try:
        await waiting.until(
            lambda: answers(f"http://127.0.0.1:{port}/readyz"), "it", seconds=SECONDS
        )
        process.terminate()
        await waiting.until(lambda: process.poll() is not None, "the end", seconds=SECONDS)
    finally:
        process.kill()
        process.wait()

    assert 0 == process.returncode


@pytest.mark.parametrize("program", ["gateway", "worker"])
def test_programs_that_need_servers_say_so(program: str) -> None:
    """A gateway or a worker without settings ends with a message that names the settings."""
    ran = factorline("http://127.0.0.1:1", program)

    assert 1 == ran.returncode
    assert "FACTORLINE_AMQP_URL" in ran.stderr


def test_help_and_completion_need_no_service() -> None:
    """Both work for every verb."""
    shown = factorline("http://127.0.0.1:1", "--help").stdout
    # Otherwise it is the script of the shell that the tests were started from, if that has completion.
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = factorline("http://127.0.0.1:1", "--show-completion", "bash", **named).stdout
    completed = factorline(
        "http://127.0.0.1:1",
        _FACTORLINE_COMPLETE="complete_bash",
        COMP_WORDS="factorline su",
        COMP_CWORD="1",
    ).stdout

    for verb in app.registered_commands:
        assert verb.callback is not None
        assert re.search(rf"^ +{verb.callback.__name__.strip('_')} ", shown, re.MULTILINE)
    assert "_FACTORLINE_COMPLETE=complete_bash" in script
    assert ["submit"] == completed.split()


def test_a_store_can_be_made_ready_before_its_programs_start(tmp_path: Path) -> None:
    """The command says that it has; a store that does not answer is named to the operator."""
    done = factorline("", "migrate", FACTORLINE_DATA=str(tmp_path))
    nobody = "mongodb://127.0.0.1:9/factorline"
    failed = factorline("", "migrate", FACTORLINE_MONGODB_URI=nobody)

    assert ("The store is ready for this version.\n", 0) == (done.stdout, done.returncode)
    assert 1 == failed.returncode
    assert "127.0.0.1:9" in failed.stderr
