"""`make licences`: lists the packages that the locks install, with the licences that they declare."""

import importlib.metadata
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "dependencies.md"

HEAD = """# Dependencies and their licences

`make licences` makes this page from what the locks install. `secantusdb` (GPL-2.0) and the `ecm` program
inside `passagemath-libecm` (GPL and LGPL) are only ever started as processes of their own, and so is
`websocat`, whose licence file says MIT and whose classifier says otherwise.

Three things are vendored unchanged, each with its licence and checksum beside it: the page's typefaces
Inter and STIX Two Text (SIL OFL 1.1, [gateway/web](../../gateway/web/README.md)), and axe-core, which
only tests use (MPL-2.0, [tests/browser/vendor](../../tests/browser/vendor/README.md)).

| package | version | licence |
|---|---|---|
"""


def licence_of(metadata: importlib.metadata.PackageMetadata) -> str:
    """Return the licence that a package declares: its SPDX expression, its classifiers, or its free text."""
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier", [])
        if line.startswith("License :: ")
    ]
    expressions = metadata.get_all("License-Expression", [])
    words = [text.splitlines()[0] for text in metadata.get_all("License", []) if text]
    return ", ".join(expressions or classifiers or words) or "not declared"


def main() -> None:
    """Write the page."""
    found = {dist.metadata["Name"]: dist for dist in importlib.metadata.distributions()}
    rows = [
        f"| {name} | {dist.version} | {licence_of(dist.metadata)} |\n"
        for name, dist in sorted(found.items(), key=lambda item: item[0].lower())
    ]
    PAGE.write_text(HEAD + "".join(rows))


if __name__ == "__main__":
    main()
