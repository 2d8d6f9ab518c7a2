"""`make docs`: writes docs/reference/settings.md and metrics.md from the code that they are about."""

import ast
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from common import metrics as of_both
from common import settings
from factor_worker import metrics as of_workers
from gateway import metrics as of_gateways

FOLDER = Path(__file__).parents[1] / "docs" / "reference"

SETTINGS = """# Settings

Made by `make docs` from `common/settings.py`. Environment variables; a value that cannot be obeyed stops the
program and names the variable.

| variable | default | meaning |
|---|---|---|
"""
METRICS = """# Metrics

Made by `make docs` from the programs, in Prometheus's text format: `GET /metrics` on a gateway (in embedded
mode it shows the worker's too), and on the address that `FACTORLINE_METRICS` gives to a gateway or a worker.
[How to operate it](../how-to/operate.md) says which ones to look at.

| metric | labels | meaning |
|---|---|---|
"""


def settings_page() -> str:
    """Return the page of settings: each field with its default as written and its docstring."""
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
    raise ValueError("every setting has a docstring under it")


def metrics_page() -> str:
    """Return the page of metrics."""
    rows = [
        f"| `{name}` | {labels or '-'} | {help_} |\n"
        for module in (of_gateways, of_workers, of_both)
        for name, labels, help_ in _metrics(vars(module).values())
    ]
    return METRICS + "".join(rows)


def _metrics(values: Iterable[object]) -> Iterator[tuple[str, str, str]]:
    for metric in values:
        if isinstance(metric, Counter | Gauge | Histogram):
            [family] = metric.describe()
            suffix = "_total" if isinstance(metric, Counter) else ""
            yield family.name + suffix, " ".join(metric._labelnames), family.documentation  # noqa: SLF001 nowhere else


def main() -> None:
    """Write the pages."""
    (FOLDER / "settings.md").write_text(settings_page())
    (FOLDER / "metrics.md").write_text(metrics_page())


if __name__ == "__main__":
    main()
