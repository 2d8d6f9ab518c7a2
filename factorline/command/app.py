"""The command line: verbs, arguments and options. What a verb does is imported when it runs."""

import sys
from typing import Annotated

import typer

from factorline.command.exits import Exit

app = typer.Typer(
    name="factorline",
    help=(
        "Factor integers with a Factorline service.\n\n"
        "Answers go to the standard output, progress and error messages to the error output. With "
        "--json every line of the standard output is one JSON value: a task as the service shows "
        "it or, for `batch`, an object with `input`, `task` and `problem`. An error message is then "
        "an object with `error` and `message`."
    ),
    epilog=(
        "Environment: FACTORLINE_URL is the URL of the service (default: http://127.0.0.1:8080). "
        "FACTORLINE_API_KEY, if set, is sent with every request. NO_COLOR turns colours off.\n\n"
        "Exit status: " + "; ".join(f"{status:d} {status.meaning}" for status in Exit) + "."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_NUMBERS = {"ignore_unknown_options": True}
"""Lets -15 and -2^64+1 pass as numbers, although they begin like options."""


def _number(value: str) -> str:
    """Return the argument, unless it is a mistyped option, which must not be sent as a number."""
    if value.startswith("-") and value.lstrip("-")[:1].isalpha():
        raise typer.BadParameter(f"no such option: {value}")
    return value


def _version(asked: bool) -> None:  # noqa: FBT001 as typer calls it
    if asked:
        from factorline import __version__

        print(f"factorline {__version__}")
        raise typer.Exit


Number = Annotated[
    str,
    typer.Argument(
        metavar="NUMBER",
        callback=_number,
        help="Digits or an expression, for example '2^128+1', '-15', '30!+1' or '50#'. Quote it.",
    ),
]
TaskId = Annotated[str, typer.Argument(metavar="TASK_ID", help="The id that `submit` printed.")]
Url = Annotated[
    str,
    typer.Option(envvar="FACTORLINE_URL", metavar="URL", help="The URL of the service."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one value per line.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0,
        help="Wait at most this long, then exit with status 7; the task goes on.",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        envvar="FACTORLINE_PORT", metavar="PORT", min=0, max=65535, help="The port to listen on."
    ),
]
Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure", help="Allow a public address without API keys: anybody may use the service."
    ),
]
_HOME = "http://127.0.0.1:8080"


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Take the options that go before a verb."""


@app.command()
def serve(*, port: Port = None, insecure: Insecure = False) -> None:
    """Run the whole service in one process. It needs no other server and keeps its data in .factorline/."""
    from factorline.command import launch

    launch.replace_with("infra.local", port=port, insecure=insecure, computes=True)


@app.command()
def gateway(*, port: Port = None, insecure: Insecure = False) -> None:
    """Run a gateway. FACTORLINE_AMQP_URL and FACTORLINE_MONGODB_URI say where its servers are."""
    from factorline.command import launch

    launch.replace_with("gateway", port=port, insecure=insecure)


@app.command()
def worker() -> None:
    """Run a worker. FACTORLINE_AMQP_URL and FACTORLINE_MONGODB_URI say where its servers are."""
    from factorline.command import launch

    launch.replace_with("factor_worker", computes=True)


@app.command(context_settings=_NUMBERS)
def submit(  # noqa: PLR0913 its options
    number: Number,
    *,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait until it is factored, then print the answer.")
    ] = False,
    timeout: Timeout = None,
    quiet: Quiet = False,
    json: Json = False,
    url: Url = _HOME,
) -> None:
    """Submit a number to be factored. Prints the id of its task or, with --wait, its factors."""
    from factorline.command import actions

    sys.exit(actions.submit(url, number, wait=wait, timeout_s=timeout, quiet=quiet, json=json))


@app.command()
def watch(
    task_id: TaskId,
    *,
    timeout: Timeout = None,
    quiet: Quiet = False,
    json: Json = False,
    url: Url = _HOME,
) -> None:
    """Follow a task until it is done. Prints the answer; Ctrl-C leaves the task running."""
    from factorline.command import actions

    sys.exit(actions.watch(url, task_id, timeout_s=timeout, quiet=quiet, json=json))


@app.command()
def get(task_id: TaskId, *, json: Json = False, url: Url = _HOME) -> None:
    """Show a task as it is now."""
    from factorline.command import actions

    sys.exit(actions.get(url, task_id, json=json))


@app.command(name="list")
def list_(
    *,
    newest: Annotated[
        int, typer.Option("--newest", "-n", min=1, metavar="COUNT", help="List at most this many.")
    ] = 20,
    json: Json = False,
    url: Url = _HOME,
) -> None:
    """List your tasks, newest first."""
    from factorline.command import actions

    sys.exit(actions.list_(url, newest=newest, json=json))


@app.command()
def cancel(task_id: TaskId, *, json: Json = False, url: Url = _HOME) -> None:
    """Cancel a task. The factors found so far are kept."""
    from factorline.command import actions

    sys.exit(actions.cancel(url, task_id, json=json))


@app.command()
def erase(
    task_id: Annotated[str | None, typer.Argument(help="The id of a task that has ended.")] = None,
    *,
    all_: Annotated[
        bool, typer.Option("--all", help="Erase all of your tasks that have ended.")
    ] = False,
    url: Url = _HOME,
) -> None:
    """Erase tasks that have ended. What is known of their numbers stays."""
    from factorline.command import actions

    if (task_id is None) is not all_:
        raise typer.BadParameter("Name a task, or say --all.")
    sys.exit(actions.erase(url, task_id))


@app.command()
def batch(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A file with one number or expression per line; - is the standard input.",
        ),
    ],
    *,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Write to this file instead of the standard output."
        ),
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
    url: Url = _HOME,
) -> None:
    """Factor every number in a file. Prints CSV, one row per number, in the order of the file."""
    from factorline.command import batches

    sys.exit(batches.batch(url, file, out=out, quiet=quiet, json=json))


@app.command(context_settings=_NUMBERS)
def known(number: Number, *, json: Json = False, url: Url = _HOME) -> None:
    """Show what is known about a number, without starting any work."""
    from factorline.command import actions

    sys.exit(actions.known(url, number, json=json))


@app.command()
def doctor(*, json: Json = False, url: Url = _HOME) -> None:
    """Check the service and what it depends on, and say what is wrong."""
    from factorline.command import doctor as examination

    sys.exit(examination.doctor(url, json=json))


@app.command()
def migrate() -> None:
    """Make the store ready for this version before its programs start, which can take minutes."""
    from factorline.command import launch

    launch.replace_with("common.store.migrate")


keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(
    keys, name="keys", help="Make, list and revoke API keys, in the store of the service."
)


@keys.command(name="make")
def keys_make(  # noqa: PLR0913 its options
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name that says what the key is for.")
    ],
    *,
    owner: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER", help="The owner whose tasks the key gives access to (default: NAME)."
        ),
    ] = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="Also allow /status and /metrics.")
    ] = False,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Allow neither submitting nor cancelling.")
    ] = False,
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="When the key expires, such as 90d or 12h (default: never)."
        ),
    ] = None,
    networks: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NETWORKS",
            help="Where it may be used, such as 10.0.0.0/8,2001:db8::/32 (default: everywhere).",
        ),
    ] = None,
    requests_per_second: Annotated[
        float | None, typer.Option(metavar="RATE", help="Limit: requests per second.")
    ] = None,
    burst: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT", help="Limit: requests at once (default: those of one second)."
        ),
    ] = None,
    tasks: Annotated[
        int | None, typer.Option(metavar="COUNT", help="Limit: tasks in progress.")
    ] = None,
    cpu_seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Limit: CPU seconds per day (UTC).")
    ] = None,
) -> None:
    """Make an API key. Prints it, this once: the store keeps only a digest."""
    from factorline.command import launch

    options = {
        "--owner": owner,
        "--expires": expires,
        "--from": networks,
        "--requests-per-second": requests_per_second,
        "--burst": burst,
        "--tasks": tasks,
        "--cpu-seconds": cpu_seconds,
    }
    given = [f"{option}={value}" for option, value in options.items() if value is not None]
    flags = [
        flag for flag, asked in {"--operator": operator, "--read-only": read_only}.items() if asked
    ]
    launch.replace_with("gateway.access.keyring", "make", *flags, *given, "--", name)


@keys.command(name="list")
def keys_list() -> None:
    """List all API keys, including revoked ones: owners, limits, expiry, last use, and who made them."""
    from factorline.command import launch

    launch.replace_with("gateway.access.keyring", "list")


@keys.command(name="revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The id that `keys list` shows.")],
) -> None:
    """Revoke an API key for good. Within seconds gateways refuse it and close its WebSockets."""
    from factorline.command import launch

    launch.replace_with("gateway.access.keyring", "revoke", "--", key_id)


def main() -> None:
    """Run the command."""
    app(prog_name="factorline")
