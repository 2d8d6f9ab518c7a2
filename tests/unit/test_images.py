"""`make images`, with a registry's answers from a stand-in for Docker's command."""

import json
from pathlib import Path

import pytest

from infra.tools import images

FAKE = """#!/bin/sh
echo "$@" >>{folder}/asked
case $4 in
{cases}
esac
"""
TEXT = """services:
  ours:
    build:
      args:
        PYTHON: python:3.13-slim-bookworm
    image: factorline
  proxy:
    image: haproxy:3.2
  pictures:
    image: grafana/grafana:12.1.0@sha256:{old}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a Compose file, in a folder that is first in PATH."""
    found = tmp_path / "docker-compose.yml"
    found.write_text(TEXT.format(old="0" * 64))
    monkeypatch.setattr(images, "FILE", found)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return found


def answer(folder: Path, **cases: str) -> None:
    """Let the stand-in run a shell command for each image, by the beginning of its name."""
    lines = "\n".join(f"{name}*) {command};;" for name, command in cases.items())
    docker = folder / "docker"
    docker.write_text(FAKE.format(folder=folder, cases=lines))
    docker.chmod(0o755)


def manifest(character: str) -> str:
    """Return the command that prints what a registry says."""
    answer = {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": f"sha256:{character * 64}",
        "size": 1609,
    }
    return f"echo '{json.dumps(answer)}'"


def test_every_image_gets_the_digest_that_its_tag_has_now(file: Path) -> None:
    """An older one is replaced; the image that we build is not asked for; a second run changes nothing."""
    answer(file.parent, python=manifest("a"), haproxy=manifest("b"), grafana=manifest("c"))
    for _ in range(2):
        images.main()
        text = file.read_text()
        assert f"PYTHON: python:3.13-slim-bookworm@sha256:{'a' * 64}\n" in text
        assert f"image: haproxy:3.2@sha256:{'b' * 64}\n" in text
        assert f"image: grafana/grafana:12.1.0@sha256:{'c' * 64}\n" in text
        assert "image: factorline\n" in text
    asked = (file.parent / "asked").read_text().splitlines()
    assert 6 == len(asked)
    assert "buildx imagetools inspect haproxy:3.2 --format {{json .Manifest}}" in asked


@pytest.mark.parametrize(
    "last",
    [
        "echo 'ERROR: failed to do request: dial tcp: lookup: no such host' >&2; exit 1",
        "echo '{}'",
        "echo 'null'",
        """echo '{"digest": "latest"}'""",
        "echo",
    ],
)
def test_if_one_answer_is_missing_nothing_is_changed(file: Path, last: str) -> None:
    """The message names the image."""
    answer(file.parent, python=manifest("a"), haproxy=manifest("b"), grafana=last)
    before = file.read_text()
    with pytest.raises(SystemExit, match=r"grafana/grafana:12.1.0: (?s:.*)stays as it is"):
        images.main()
    assert before == file.read_text()


def test_without_dockers_command_it_says_how_to_get_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is changed."""
    monkeypatch.setenv("PATH", str(file.parent))
    with pytest.raises(SystemExit, match="buildx"):
        images.main()


def test_all_images_of_our_file_are_found() -> None:
    """Also the one that ours are built on."""
    found: list[str] = []
    text = images.FILE.read_text()

    def seen(image: str) -> str:
        found.append(image)
        return "sha256:x"

    images.pinned(text, seen)
    assert {"python", "haproxy", "rabbitmq", "mongo", "prom/prometheus", "grafana/grafana"} == {
        image.partition(":")[0] for image in found
    }
    assert len(found) == text.count("image: ") - text.count("image: factorline\n") + 1
