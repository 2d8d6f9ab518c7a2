"""`make audit` tells what it knows from what it could not find out."""

import json
import re
from pathlib import Path

from infra.tools import audit
from infra.tools.audit import Finding, Package


def test_the_sbom_lists_every_package_of_the_lock(tmp_path: Path) -> None:
    """Each has its version and the hashes of its files."""
    audit.write_sbom(tmp_path / "sbom.json")
    components = json.loads((tmp_path / "sbom.json").read_text())["components"]

    locked = re.findall(r"^([a-z0-9-]+)==([^ ;]+)", audit.LOCK.read_text(), re.MULTILINE)
    assert sorted(locked) == sorted((it["name"], it["version"]) for it in components)
    assert all(reference["hashes"] for it in components for reference in it["externalReferences"])


def test_a_package_that_could_not_be_audited_is_not_a_success() -> None:
    """An unreachable service is told apart from a lock without findings."""
    clean, unknown = Package("a", "1"), Package("b", skip_reason="not found on PyPI")
    unsafe = Package("c", "3", vulns=[Finding("PYSEC-1", ["3.1"]), Finding("PYSEC-2", [])])

    assert 0 == audit.judge([clean])[1]
    assert audit.UNKNOWN == audit.judge([])[1]
    lines, code = audit.judge([clean, unknown])
    assert audit.UNKNOWN == code
    assert "1 of 2 packages were audited" in lines[0]
    assert "not found on PyPI" in lines[1]
    lines, code = audit.judge([clean, unknown, unsafe])
    assert audit.UNSAFE == code
    assert ["c 3: PYSEC-1, fixed in 3.1", "c 3: PYSEC-2, no fix yet"] == lines[:2]
