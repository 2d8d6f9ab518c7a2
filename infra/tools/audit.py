"""`make audit`: writes sbom.json, and asks PyPI whether any package of the lock has a known vulnerability.

pip-audit reports a package that PyPI knows nothing about as free of findings. Here that is a failure, so
that a network without PyPI does not look like a clean bill of health.
"""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
SBOM = ROOT / "sbom.json"

UNSAFE, UNKNOWN = 1, 2
"""Exit codes."""


class Finding(msgspec.Struct):
    """A known vulnerability of one release."""

    id: str
    fix_versions: list[str]


class Package(msgspec.Struct):
    """What pip-audit reports about one package."""

    name: str
    version: str = ""
    vulns: list[Finding] = []
    skip_reason: str | None = None


class Report(msgspec.Struct):
    """What pip-audit reports."""

    dependencies: list[Package]


def write_sbom(path: Path = SBOM) -> None:
    """Write the CycloneDX bill of materials of the lock, reproducibly."""
    command = [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", str(LOCK)]
    command += ["--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible"]
    subprocess.run([*command, "--of", "JSON", "-o", str(path)], check=True)


def ask() -> Report:
    """Ask PyPI about every package of the lock; exit with pip-audit's message if that fails."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--require-hashes"]
    command += ["--disable-pip", "--progress-spinner", "off", "--format", "json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return msgspec.json.decode(ran.stdout, type=Report)
    except msgspec.DecodeError:
        sys.exit(f"pip-audit could not ask PyPI: {ran.stderr.strip() or ran.stdout.strip()}")


def judge(packages: Iterable[Package]) -> tuple[list[str], int]:
    """Return the lines of the report, and the exit code."""
    packages = list(packages)
    unsafe = [package for package in packages if package.vulns]
    unknown = [package for package in packages if package.skip_reason]
    lines = [
        f"{package.name} {package.version}: {finding.id}, "
        f"{'fixed in ' + ', '.join(finding.fix_versions) if finding.fix_versions else 'no fix yet'}"
        for package in unsafe
        for finding in package.vulns
    ]
    lines.append(
        f"{len(packages) - len(unknown)} of {len(packages)} packages were audited, "
        f"{len(unsafe)} of them have known vulnerabilities."
    )
    if unknown:
        lines.append(f"PyPI could not tell about the others: {unknown[0].skip_reason}")
        lines.append("(This needs PyPI's vulnerability service, which mirrors often lack.)")
    return lines, UNSAFE if unsafe else UNKNOWN if unknown or not packages else 0


def main() -> None:
    """Write the bill of materials and audit it; exit with 0 only if all was audited and nothing found."""
    write_sbom()
    print(f"{SBOM.name}: the CycloneDX bill of materials of {LOCK.name}.")  # noqa: T201 a command
    lines, code = judge(ask().dependencies)
    print("\n".join(lines))  # noqa: T201 a command
    sys.exit(code)


if __name__ == "__main__":
    main()
