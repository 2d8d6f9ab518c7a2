"""Imports point one way: gateway → common ← factor_worker."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("benchmarks", "common", "factor_worker", "factorline", "gateway", "infra", "tests")
MAY_IMPORT = {
    "common": {"common"},
    "gateway": {"common", "gateway"},
    "factor_worker": {"common", "factor_worker"},
    "factorline": {"factorline"},
}


def modules(folder: str) -> list[Path]:
    """Return a room's modules."""
    return sorted((ROOT / folder).rglob("*.py"))


def imported(module: Path) -> Iterator[str]:
    """Yield the full names that a module imports, wherever in it."""
    package = module.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            path = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{path}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    """No program imports another one, and what they share imports neither."""
    strangers = {
        f"{module.relative_to(ROOT)}: {name}"
        for module in modules(room)
        for name in imported(module)
        if (top := name.partition(".")[0]) in ROOMS and top not in MAY_IMPORT[room]
    }

    assert set() == strangers


def test_the_engine_imports_nothing_else_of_the_project() -> None:
    """The mathematics knows no broker, no store and no event loop."""
    strangers = {
        f"{module.relative_to(ROOT)}: {name}"
        for module in modules("factor_worker/engine")
        for name in imported(module)
        if name.partition(".")[0] in {*ROOMS, "asyncio"}
        and not name.startswith("factor_worker.engine")
    }

    assert set() == strangers


def test_only_one_module_of_the_programs_imports_motor() -> None:
    """The day motor must go, one file changes (docs/adr/0003)."""
    importers = {
        str(module.relative_to(ROOT))
        for room in MAY_IMPORT
        for module in modules(room)
        if any(name.partition(".")[0] == "motor" for name in imported(module))
    }

    assert importers <= {"common/store/mongo.py"}


def test_what_is_imported_is_ours_or_locked() -> None:
    """Nothing that happens to be installed is used without being in the lock."""
    locks = ("requirements-dev.lock", "benchmarks/peers/requirements.lock")
    locked = "".join((ROOT / lock).read_text().lower() for lock in locks)
    distribution = {
        "flint": "python-flint",
        "bson": "pymongo",
        "markdown_it": "markdown-it-py",
        "opentelemetry": "opentelemetry-api",
        "yaml": "pyyaml",
        "hdrh": "hdrhistogram",
        "secantus": "secantusdb",
        "prometheus_client": "prometheus-client",
    }
    unknown = {
        top
        for room in ROOMS
        for module in modules(room)
        for name in imported(module)
        if (top := name.partition(".")[0]) not in {*ROOMS, *sys.stdlib_module_names}
        and f"\n{distribution.get(top, top).replace('_', '-').lower()}==" not in locked
    }

    assert set() == unknown
