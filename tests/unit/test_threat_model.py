"""The threat model names a test for every risk, and the tests exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "threat-model.md").read_text()
RISKS = dict(re.findall(r"^\| (API\d+) [^|]*\|[^|]*\|(.*)\|$", PAGE, re.MULTILINE))


def test_every_risk_of_the_list_has_a_line_with_tests() -> None:
    """There are ten, each with at least one test."""
    assert {f"API{number}" for number in range(1, 11)} == RISKS.keys()
    assert all("`tests/" in named for named in RISKS.values())


def test_every_named_test_exists() -> None:
    """It is a file, or a function in one."""
    named = re.findall(r"`(tests/[^`:]+)(?:::(\w+))?`", PAGE)
    assert len(named) > 20
    missing = [
        f"{path}::{function}"
        for path, function in named
        if not (ROOT / path).exists()
        or (function and f"def {function}(" not in (ROOT / path).read_text())
    ]

    assert [] == missing
