"""`make docs`: writes docs/reference/command.md from the command line itself."""

import ast
import inspect
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from factorline.command import exits
from factorline.command.app import app

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command.md"

HEAD = """# The command `factorline`

Made by `make docs` from the command line itself; [how to use it](../how-to/use-the-command.md) is told apart.
`make run` and every other verb of the Makefile that needs the environment put it at `.venv/bin/factorline`;
`python -m factorline` in the checkout is the same.

| variable | meaning |
|---|---|
| `FACTORLINE_URL` | where the service is; `http://127.0.0.1:8080` unless told |
| `FACTORLINE_API_KEY` | sent with every request as `Authorization: Bearer`, if it is set |
| `NO_COLOR` | set: no colours |

Answers go to the standard output, progress and complaints to the error output. With `--json` every line of
the standard output is one JSON value: a task as [the service shows it](websocket.md#a-task), or for `batch`
an object with `input`, `task` and `problem`; complaints are objects with `error` and `message`.

## Exit statuses

| status | meaning |
|---|---|
"""


def meanings() -> Iterator[tuple[int, str]]:
    """Yield each exit status with the sentence that stands under it in `exits.Exit`."""
    [body] = [
        node.body
        for node in ast.parse(inspect.getsource(exits)).body
        if isinstance(node, ast.ClassDef)
    ]
    for first, second in itertools.pairwise(body):
        match first, second:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=says)):
                yield exits.Exit[name], str(says)


def page() -> str:
    """Return the whole page."""
    verbs: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    rows = "".join(f"| {status} | {says} |\n" for status, says in meanings())
    return HEAD + rows + "".join(_section(name, verb) for name, verb in _flat(verbs))


def _flat(verbs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every verb, those of groups with the group's name before theirs."""
    for name, verb in verbs.items():
        if inner := getattr(verb, "commands", None):
            yield from ((f"{name} {part}", command) for part, command in _flat(inner))
        else:
            yield name, verb


def _section(name: str, verb: Any) -> str:
    arguments = [p.metavar for p in verb.params if p.param_type_name == "argument"]
    usage = " ".join(["factorline", name, *arguments, "[OPTIONS]"])
    rows = [_row(parameter) for parameter in verb.params]
    table = "\n| | |\n|---|---|\n" + "".join(rows) if rows else ""
    return f"\n## `{name}`\n\n    {usage}\n\n{inspect.cleandoc(verb.help)}\n{table}"


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"| `{parameter.metavar}` | {parameter.help} |\n"
    value = "" if parameter.is_flag else f" {parameter.metavar}"
    names = ", ".join(f"`{option}{value}`" for option in parameter.opts)
    says = [parameter.help]
    if parameter.envvar:
        says.append(f"Default: `{parameter.envvar}`.")
    elif parameter.default not in {None, False}:
        says.append(f"Default: {parameter.default}.")
    return f"| {names} | {' '.join(says)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
