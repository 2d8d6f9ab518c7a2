"""`docker-compose.yml` says what it should, by Compose's own reading; no engine is needed for that."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.local.programs import ROOT
from tests import servers

COMPOSE = Path(sys.executable).with_name("docker-compose")
PASSWORDS = {"RABBITMQ_PASSWORD": "r", "MONGO_PASSWORD": "m"}


def config(**passwords: str) -> subprocess.CompletedProcess[str]:
    """Return how Compose reads the file."""
    if not COMPOSE.exists():
        pytest.skip("docker: docker-compose has no wheel for this machine")
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return subprocess.run(  # noqa: S603 our own file
        [COMPOSE, "-f", ROOT / "docker-compose.yml", "config", "--format", "json"],
        env={**kept, **passwords},
        capture_output=True,
        text=True,
        check=False,
    )


def services() -> dict[str, Any]:
    """Return the services by name."""
    read = config(**PASSWORDS)
    assert 0 == read.returncode, read.stderr
    found: dict[str, Any] = json.loads(read.stdout)["services"]
    return found


@pytest.mark.parametrize("missing", PASSWORDS)
def test_there_is_no_default_password(missing: str) -> None:
    """Without one nothing starts, and the message says how to make one."""
    refused = config(**{key: value for key, value in PASSWORDS.items() if key != missing})

    assert refused.returncode != 0
    assert missing in refused.stderr


def test_our_programs_can_write_nowhere_and_gain_nothing() -> None:
    """Read-only, without capabilities, as an ordinary user."""
    for name in ("gateway", "worker"):
        service = services()[name]
        assert service["read_only"]
        assert ["ALL"] == service["cap_drop"]
        assert ["no-new-privileges:true"] == service["security_opt"]
    assert "\nUSER factorline\n" in (ROOT / "infra/docker/Dockerfile").read_text()


def test_images_are_pinned_and_are_those_of_the_tests() -> None:
    """Nothing is `latest`, and what is tested is what is shipped."""
    images = {name: service["image"] for name, service in services().items()}

    assert servers.RABBITMQ_IMAGE == images["rabbitmq"]
    assert servers.MONGO_IMAGE == images["mongo"]
    assert all(":" in image for image in images.values() if image != "factorline")


def test_ports_are_published_on_loopback() -> None:
    """Whoever wants the world to reach it says so."""
    ports = [port for service in services().values() for port in service.get("ports", [])]

    assert {"80", "15672"} == {port["published"] for port in ports}
    assert {"127.0.0.1"} == {port["host_ip"] for port in ports}
