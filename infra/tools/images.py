"""`make images`: pins every image of docker-compose.yml to the digest that its tag has now.

A tag may be given to another image at any time, and a digest may not. The registry is asked by Docker's own
command, which needs no running engine. If it does not answer for every image, nothing is changed.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from infra.local.processes import NotInstalled, find_program

FILE = Path(__file__).parents[2] / "docker-compose.yml"
HOW = "Install Docker's command with its plugin buildx (Debian: `apt-get install docker-cli docker-buildx`)"
_IMAGE = re.compile(
    r"^( *(?:image|PYTHON): )([\w./-]+:[\w.-]+)(?:@sha256:[0-9a-f]+)?$", re.MULTILINE
)
"""A line that names an image with a tag; the image that we build has none."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SECONDS = 60.0


class NoDigest(Exception):
    """The registry has not said what a tag stands for; the message says why."""


def digest_of(image: str) -> str:
    """Return the digest of an image's list of platforms, as the registry has it now.

    Raises:
        NoDigest: Docker's command could not find it out.
        NotInstalled: There is no such command.

    """
    docker = find_program("docker", how=HOW)
    command = [docker, "buildx", "imagetools", "inspect", image, "--format", "{{json .Manifest}}"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise NoDigest(f"{image}: no answer in {_SECONDS:.0f} s") from error
    if ran.returncode:
        raise NoDigest(f"{image}: {ran.stderr.strip() or 'no answer'}")
    try:
        digest = str(json.loads(ran.stdout)["digest"])
    except (ValueError, KeyError, TypeError) as error:
        raise NoDigest(f"{image}: an answer without a digest") from error
    if not _DIGEST.fullmatch(digest):
        raise NoDigest(f"{image}: {digest!r} is no SHA-256 digest")
    return digest


def pinned(text: str, digest: Callable[[str], str]) -> str:
    """Return a Compose file with each image pinned to the digest that a function returns for it."""
    return _IMAGE.sub(lambda found: f"{found[1]}{found[2]}@{digest(found[2])}", text)


def main() -> None:
    """Rewrite the file, or say why it stays as it is."""
    text = FILE.read_text()
    try:
        new = pinned(text, digest_of)
    except (NoDigest, NotInstalled) as error:
        needs = "This needs Docker's plugin buildx, and a registry that answers."
        sys.exit(f"images: {error}\n{FILE.name} stays as it is. {needs}")
    FILE.write_text(new)
    changed = sum(a != b for a, b in zip(text.splitlines(), new.splitlines(), strict=True))
    print(f"{changed} of {len(_IMAGE.findall(new))} images have another digest than before.")  # noqa: T201 for people


if __name__ == "__main__":
    main()
