"""Which packages, folders and modules may import which."""

import ast
import functools
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("benchmarks", "common", "factor_worker", "factorline", "gateway", "infra", "tests")
ALLOWED = {
    "common": {"common"},
    "gateway": {"common", "gateway"},
    "factor_worker": {"common", "factor_worker"},
    "factorline": {"factorline"},
    "infra": {*PACKAGES} - {"benchmarks", "tests"},
    "benchmarks": {*PACKAGES} - {"tests"},
    "tests": {*PACKAGES} - {"benchmarks"},
}
"""What the modules of each package may import of the project."""

LAYERS = {
    "common": [
        {"errors"},
        {"domain", "numbers"},
        {"runtime"},
        {"broker", "store"},
        {"announcer", "places", "program", "quotas"},
        {"lifecycle"},
    ],
    "gateway": [
        {"metrics", "views"},
        {"access", "hub"},
        {"context"},
        {"http", "websocket"},
        {"api"},
        {"app"},
        {"main"},
        {"__main__"},
    ],
    "factor_worker": [
        {"engine", "metering", "metrics", "rendezvous"},
        {"heartbeat"},
        {"admission", "plan", "retries", "slots"},
        {"settlement", "stalls"},
        {"consumer", "sweeper"},
        {"worker"},
        {"main"},
        {"__main__"},
    ],
    "factor_worker.engine": [
        {"aurifeuillian", "fermat", "parts"},
        {"powers", "primality", "siqs", "trial", "verify"},
        {"algebraic", "coprime"},
        {"whole"},
        {"curves", "survey"},
    ],
    "factor_worker.engine.siqs": [
        {"words"},
        {"polynomials"},
        {"forecast", "relations"},
        {"sieve", "solve"},
        {"complete", "tiny"},
        {"warm"},
    ],
}
"""The folders and the modules at the top of a package, lowest layer first.

Each may import what lies in a lower layer: nothing beside it and nothing above it.
"""


def modules(folder: str) -> list[Path]:
    """Return the modules of a package or of one of its folders."""
    return sorted((ROOT / folder.replace(".", "/")).rglob("*.py"))


@functools.cache
def imported(module: Path) -> frozenset[str]:
    """Return the full names that a module imports: in functions and for type checking too."""
    return frozenset(_imported(module))


def _imported(module: Path) -> Iterator[str]:
    package = module.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            path = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{path}.{alias.name}" for alias in node.names)


def name_of(module: Path) -> str:
    """Return the name by which a module is imported."""
    return ".".join(module.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def graph() -> dict[str, set[str]]:
    """Return the modules of the project that each of its modules imports."""
    files = {name_of(module): module for package in PACKAGES for module in modules(package)}

    def module_of(name: str) -> str:
        while name and name not in files:
            name = name.rpartition(".")[0]  # the name of something in that module
        return name

    return {
        importer: {module_of(name) for name in imported(file)} - {"", importer}
        for importer, file in files.items()
    }


def arrows(package: str) -> Iterator[tuple[str, str, str]]:
    """Yield (folder, folder that it imports, the import) for the folders of a package."""
    inside = f"{package}."
    for importer, targets in graph().items():
        for target in targets:
            if importer.startswith(inside) and target.startswith(inside):
                source = importer.removeprefix(inside).partition(".")[0]
                goal = target.removeprefix(inside).partition(".")[0]
                if source != goal:
                    yield source, goal, f"{importer} imports {target}"


def circles() -> set[frozenset[str]]:
    """Return the import circles: one after another is found, and its last arrow left out."""
    found = set[frozenset[str]]()
    left = {module: set(targets) for module, targets in graph().items()}
    while True:
        try:
            graphlib.TopologicalSorter(left).prepare()
        except graphlib.CycleError as error:
            circle: list[str] = error.args[1]  # each is imported by the next one
            found.add(frozenset(circle))
            left[circle[1]].discard(circle[0])
        else:
            return found


def test_no_modules_import_one_another_in_a_circle() -> None:
    """A module can be read, and moved, with what it imports and without what imports it."""
    assert set() == circles()


@pytest.mark.parametrize("package", LAYERS)
def test_every_folder_has_its_layer(package: str) -> None:
    """A new folder, or a new module at the top of a package, is entered in `LAYERS`."""
    folder = ROOT / package.replace(".", "/")
    there = {
        path.stem
        for path in folder.iterdir()
        if path.is_dir() or path.suffix == ".py"
        if path.name not in ("__init__.py", "__pycache__")
        if path.suffix == ".py" or any(path.rglob("*.py"))
    }
    listed = [name for layer in LAYERS[package] for name in layer]

    assert sorted(there) == sorted(listed)


@pytest.mark.parametrize("package", LAYERS)
def test_folders_import_only_what_lies_below(package: str) -> None:
    """Within a package too, imports point one way."""
    height = {name: rank for rank, layer in enumerate(LAYERS[package]) for name in layer}
    upward = {why for source, goal, why in arrows(package) if height[source] <= height[goal]}

    assert set() == upward


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    """No program imports another one, and what they share imports neither."""
    strangers = {
        f"{module.relative_to(ROOT)}: {name}"
        for module in modules(package)
        for name in imported(module)
        if (top := name.partition(".")[0]) in PACKAGES and top not in ALLOWED[package]
    }

    assert set() == strangers


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("factor_worker.engine", ("factor_worker.engine.",)),  # mathematics alone
        ("common.domain", ("common.domain.", "common.errors.")),
    ],
)
def test_a_pure_folder_imports_only_what_it_may(folder: str, allowed: tuple[str, ...]) -> None:
    """The mathematics and the values know no broker, no store and no event loop."""
    strangers = {
        f"{module.relative_to(ROOT)}: {name}"
        for module in modules(folder)
        for name in imported(module)
        if name.partition(".")[0] in {*PACKAGES, "asyncio"} and not f"{name}.".startswith(allowed)
    }

    assert set() == strangers


@pytest.mark.parametrize("folder", ["common.domain", "factor_worker.plan", "gateway.views"])
def test_a_pure_folder_waits_for_nothing(folder: str) -> None:
    """What a number's plan is and what clients see can be computed without an event loop."""
    waits = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    waiting = {
        f"{module.relative_to(ROOT)}:{node.lineno}"
        for module in modules(folder)
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, waits)
    }

    assert set() == waiting


def test_below_the_handlers_nothing_knows_a_request() -> None:
    """What checks keys, keeps limits, follows tasks or shows them takes values."""
    handlers = ("__main__", "main", "app", "context", "api", "http", "websocket.session")
    below = {
        name
        for name in graph()
        if name.startswith("gateway.") and not name.removeprefix("gateway.").startswith(handlers)
    }
    importers = {
        str(module.relative_to(ROOT))
        for module in modules("gateway")
        if name_of(module) in below
        and any(name.partition(".")[0] == "aiohttp" for name in imported(module))
    }

    assert {"gateway.access.doorkeeper", "gateway.hub", "gateway.websocket.protocol"} <= below
    assert set() == importers


def test_only_one_module_of_the_programs_imports_motor() -> None:
    """The day motor must go, one file changes (docs/adr/0003)."""
    importers = {
        str(module.relative_to(ROOT))
        for package in ("common", "gateway", "factor_worker", "factorline", "infra")
        for module in modules(package)
        if any(name.partition(".")[0] == "motor" for name in imported(module))
    }

    assert {"common/store/mongo/server.py"} == importers


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
        "xdist": "pytest-xdist",
    }
    unknown = {
        top
        for package in PACKAGES
        for module in modules(package)
        for name in imported(module)
        if (top := name.partition(".")[0]) not in {*PACKAGES, *sys.stdlib_module_names}
        and f"\n{distribution.get(top, top).replace('_', '-').lower()}==" not in locked
    }

    assert set() == unknown
