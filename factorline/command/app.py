"""The command line of `factorline`: its verbs, arguments and options; what they do is imported late."""

import sys
from typing import Annotated

import typer

app = typer.Typer(
    name="factorline",
    help="Factor integers with a Factorline service.",
    epilog=(
        "FACTORLINE_URL says where the service is (http://127.0.0.1:8080 unless told), "
        "FACTORLINE_API_KEY is sent with every request if it is set."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_NUMBERS = {"ignore_unknown_options": True}
"""So that -15 and -2^64+1 are numbers and no options."""


def _number(value: str) -> str:
    """Return the argument; an option that was mistyped must not be sent as a number."""
    if value.startswith("-") and value.lstrip("-")[:1].isalpha():
        message = f"no such option: {value}"
        raise typer.BadParameter(message)
    return value


Number = Annotated[
    str,
    typer.Argument(
        metavar="NUMBER",
        callback=_number,
        help="Digits or an expression such as '2^128+1', '-15', '30!+1', '50#'; quote it.",
    ),
]
TaskId = Annotated[str, typer.Argument(metavar="TASK_ID", help="The id that submitting printed.")]
Url = Annotated[
    str,
    typer.Option(envvar="FACTORLINE_URL", metavar="URL", help="Where the service is."),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON: one value a line, as the service gave it.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Timeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0, help="Wait no longer; the task goes on (status 7)."),
]
Port = Annotated[
    int | None,
    typer.Option(
        envvar="FACTORLINE_PORT", metavar="PORT", min=0, max=65535, help="Where to listen."
    ),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Serve a public address without API keys: to everybody."),
]
_HOME = "http://127.0.0.1:8080"


@app.command()
def serve(*, port: Port = None, insecure: Insecure = False) -> None:
    """Run everything in one process. Gateway, worker, store and broker: no other server is needed."""
    from factorline.command import launch

    launch.replace_with("infra.local", port, insecure=insecure)


@app.command()
def gateway(*, port: Port = None, insecure: Insecure = False) -> None:
    """Run a gateway. The settings name its RabbitMQ and its MongoDB."""
    from factorline.command import launch

    launch.replace_with("gateway", port, insecure=insecure)


@app.command()
def worker() -> None:
    """Run a worker. The settings name its RabbitMQ and its MongoDB."""
    from factorline.command import launch

    launch.replace_with("factor_worker", None)


@app.command(context_settings=_NUMBERS)
def submit(  # noqa: PLR0913 its options
    number: Number,
    *,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Stay until it is factored, and print the answer.")
    ] = False,
    timeout: Timeout = None,
    quiet: Quiet = False,
    json: Json = False,
    url: Url = _HOME,
) -> None:
    """Have a number factored. Prints the id of its task, or with --wait its factors."""
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
    """Follow a task to its end. Prints its answer; Ctrl-C leaves it running."""
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
        int, typer.Option("--newest", "-n", min=1, metavar="COUNT", help="How many, at most.")
    ] = 20,
    json: Json = False,
    url: Url = _HOME,
) -> None:
    """List your tasks, newest first."""
    from factorline.command import actions

    sys.exit(actions.list_(url, newest=newest, json=json))


@app.command()
def cancel(task_id: TaskId, *, json: Json = False, url: Url = _HOME) -> None:
    """Cancel a task. What was found stays known."""
    from factorline.command import actions

    sys.exit(actions.cancel(url, task_id, json=json))


@app.command()
def batch(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="One number or expression a line; - reads the input."),
    ],
    *,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FILE", help="Write there.")
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
    url: Url = _HOME,
) -> None:
    """Factor every number of a file. Prints CSV, a row for each, in the order of the file."""
    from factorline.command import batches

    sys.exit(batches.batch(url, file, out=out, quiet=quiet, json=json))


@app.command(context_settings=_NUMBERS)
def known(number: Number, *, json: Json = False, url: Url = _HOME) -> None:
    """Show what is known of a number. It starts no work."""
    from factorline.command import actions

    sys.exit(actions.known(url, number, json=json))


@app.command()
def doctor(*, json: Json = False, url: Url = _HOME) -> None:
    """Say what is reachable and what is wrong."""
    from factorline.command import doctor as examination

    sys.exit(examination.doctor(url, json=json))


keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(
    keys, name="keys", help="API keys, in the store that the settings of the service name."
)


@keys.command(name="make")
def keys_make(  # noqa: PLR0913 its options
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    *,
    owner: Annotated[
        str | None,
        typer.Option(metavar="OWNER", help="Whose tasks it opens; the name unless told."),
    ] = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="It opens /status and /metrics too.")
    ] = False,
    requests_per_second: Annotated[
        float | None, typer.Option(metavar="RATE", help="Requests a second.")
    ] = None,
    burst: Annotated[
        int | None, typer.Option(metavar="COUNT", help="Requests at once; those of a second.")
    ] = None,
    tasks: Annotated[int | None, typer.Option(metavar="COUNT", help="Tasks in progress.")] = None,
    cpu_seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="CPU seconds in a day (UTC).")
    ] = None,
) -> None:
    """Make a key. Prints it once, on the standard output; the store keeps only a digest."""
    from factorline.command import launch

    options = {
        "--owner": owner,
        "--requests-per-second": requests_per_second,
        "--burst": burst,
        "--tasks": tasks,
        "--cpu-seconds": cpu_seconds,
    }
    given = [f"{option}={value}" for option, value in options.items() if value is not None]
    flags = ["--operator"] if operator else []
    launch.replace_with("gateway.access.keyring", None, "make", *flags, *given, "--", name)


@keys.command(name="list")
def keys_list() -> None:
    """List all keys, revoked ones too, with their owners and limits."""
    from factorline.command import launch

    launch.replace_with("gateway.access.keyring", None, "list")


@keys.command(name="revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The id that `list` shows.")],
) -> None:
    """Revoke a key for good. Gateways refuse it and close its sockets within seconds."""
    from factorline.command import launch

    launch.replace_with("gateway.access.keyring", None, "revoke", "--", key_id)


def main() -> None:
    """Run the command."""
    app(prog_name="factorline")
