"""What `docker-compose.yml` promises, as Compose itself reads the file; that needs no engine."""

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common import errors
from common.domain import looks_like_a_key
from common.runtime.settings import Settings
from gateway.access import check_exposure
from infra.local.mongo import roles
from infra.local.programs import ROOT
from infra.local.rabbitmq import USERS
from infra.local.secrets import make_secrets
from tests import servers

COMPOSE = Path(sys.executable).with_name("docker-compose")
FILE = Path(os.environ.get("FACTORLINE_COMPOSE_FILE", ROOT / "docker-compose.yml"))
"""Stand-ins for images have no digests: for them tests/containers/run.sh makes a file without."""
OURS = ("gateway", "worker")
ENDS_BY_ITSELF = "migrate"
Service = dict[str, Any]


@functools.cache
def config() -> dict[str, Any]:
    """Return how Compose reads the file, with everything that a profile adds."""
    if not COMPOSE.exists():
        pytest.skip("docker: docker-compose has no wheel for this machine")
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    command = [str(COMPOSE), "-f", str(FILE), "--project-directory", str(ROOT), "--profile", "*"]
    command += ["config", "--format", "json"]
    read = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)  # noqa: S603 our file
    assert 0 == read.returncode, read.stderr
    assert not read.stderr
    found: dict[str, Any] = json.loads(read.stdout)
    return found


def services() -> dict[str, Service]:
    """Return the services by name."""
    found: dict[str, Service] = config()["services"]
    return found


def test_every_password_is_a_file_that_a_command_makes(tmp_path: Path) -> None:
    """No password is in the file or in an environment; each is made once, and no two are the same."""
    wanted = {Path(secret["file"]).name for secret in config()["secrets"].values()}
    assert wanted == {
        *(f"rabbitmq_{user}" for user in USERS),
        *(f"mongo_{user}" for user in ("key", "root", *roles())),
        "haproxy_operator",
        "grafana_admin",
        "first_key",
    }
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", "")
    named = re.search(r"^SECRETS = (.*)$", makefile, re.MULTILINE)
    assert named is not None
    assert wanted == {*named[1].split(), "first_key"}
    assert "infra/secrets.sh .secrets $(SECRETS) first_key\n" in makefile
    for _ in range(2):
        script = ["sh", str(ROOT / "infra" / "secrets.sh"), str(tmp_path / "made"), *wanted]
        subprocess.run(script, check=True)  # noqa: S603 our own script
    made = {path.name: path.read_text() for path in (tmp_path / "made").iterdir()}
    assert wanted == made.keys()
    assert len(made) == len(set(made.values()))
    assert looks_like_a_key(made.pop("first_key"))
    assert all(len(password) == 48 for password in made.values())
    assert 0o700 == (tmp_path / "made").stat().st_mode & 0o777
    for service in services().values():
        for name, value in service.get("environment", {}).items():
            assert "PASS" not in name or "/run/secrets/" in value, name


def test_a_program_gets_only_its_own_passwords() -> None:
    """Somebody who breaks into a gateway cannot take work; one who breaks into a worker cannot take tasks."""
    for name in OURS:
        given = {secret["source"] for secret in services()[name]["secrets"]}
        more = {"first_key"} if name == "gateway" else set()
        assert {f"rabbitmq_{name}", f"mongo_{name}", *more} == given


def test_no_password_is_on_a_command_line() -> None:
    """Everybody on the host sees those, and a health check runs every few seconds."""
    for name, service in services().items():
        health = service.get("healthcheck", {}).get("test")
        given = (service.get("entrypoint"), service.get("command"), health)
        for word in (word for words in given for word in words or ()):
            # What a shell puts into a variable or into another file is on no command line.
            rest = re.sub(r'export \w+="\$\$\(cat /run/secrets/\w+\)"', "", word)
            rest = re.sub(r"cat /run/secrets/\w+ >/", "", rest)
            assert "/run/secrets" not in rest, name
    script = (ROOT / "infra/mongo/health.js").read_text()
    assert "/run/secrets/mongo_root" in script


def test_rabbitmq_is_given_its_passwords_in_a_file(tmp_path: Path) -> None:
    """The program that writes them there does not have them among its arguments."""
    names = [f"rabbitmq_{user}" for user in USERS]
    make_secrets(tmp_path / "secrets", names)
    sed = tmp_path / "sed"
    sed.write_text(
        f"""#!/bin/sh\necho "$@" >>{tmp_path}/arguments\nexec {shutil.which("sed")} "$@"\n"""
    )
    sed.chmod(0o755)
    env = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "FACTORLINE_SECRETS": str(tmp_path / "secrets"),
        "FACTORLINE_DEFINITIONS": str(tmp_path / "definitions.json"),
    }
    start = ["sh", str(ROOT / "infra/rabbitmq/start.sh"), "true"]
    subprocess.run(start, check=True, env=env)  # noqa: S603 our own script
    written = (tmp_path / "definitions.json").read_text()
    for name in names:
        password = (tmp_path / "secrets" / name).read_text()
        assert password in written
        assert password not in (tmp_path / "arguments").read_text()


def test_our_programs_can_write_nowhere_and_gain_nothing() -> None:
    """They have read-only file systems, run as an ordinary user without capabilities, and have limits."""
    for name in OURS:
        assert services()[name]["read_only"]
    for name, service in services().items():
        assert ["ALL"] == service["cap_drop"], name
        assert ["no-new-privileges:true"] == service["security_opt"], name
        assert not service.get("privileged"), name
        limits = service["deploy"]["resources"]["limits"]
        assert {"memory", "pids"} <= limits.keys(), name
        assert name == ENDS_BY_ITSELF or service["healthcheck"]["test"], name
    dockerfile = (ROOT / "infra/docker/Dockerfile").read_text()
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", dockerfile, re.MULTILINE)
    assert "root" != services()["rabbitmq"]["user"] != services()["mongo"]["user"]


def test_images_are_pinned_and_are_those_of_the_tests() -> None:
    """Nothing is `latest`, and the tests use the images that are shipped."""
    images = {name: service["image"].partition("@")[0] for name, service in services().items()}

    assert servers.RABBITMQ_IMAGE == images["rabbitmq"]
    assert servers.MONGO_IMAGE == images["mongo"]
    assert all(
        re.search(r":v?\d+\.\d+", image) for image in images.values() if image != "factorline"
    )
    dockerfile = (ROOT / "infra/docker/Dockerfile").read_text()
    python = services()["gateway"]["build"]["args"]["PYTHON"].partition("@")[0]
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", python)
    assert f"ARG PYTHON={python}\n" in dockerfile


def test_kernels_are_compiled_for_a_class_of_processors_not_for_the_builder() -> None:
    """Unless it is told otherwise, numba uses every feature of the machine that it runs on."""
    dockerfile = (ROOT / "infra/docker/Dockerfile").read_text()

    assert 2 == len(re.findall(r"NUMBA_CPU_NAME=\$CPU NUMBA_CPU_FEATURES= ", dockerfile))
    assert "x86-64-v3" == services()["worker"]["build"]["args"]["CPU"]


def test_keys_are_on_and_without_them_nothing_is_published() -> None:
    """A gateway is told where HAProxy's port is published, and refuses to serve others without keys."""
    environment = services()["gateway"]["environment"]
    assert "true" == environment["FACTORLINE_KEYS"]
    assert "/run/secrets/first_key" == environment["FACTORLINE_KEY_FILE"]
    assert "FACTORLINE_INSECURE" not in environment
    given = {name: value for name, value in environment.items() if not name.endswith("_FILE")}
    for keys, published, refused in (
        ("false", "127.0.0.1", False),
        ("false", "0.0.0.0", True),  # noqa: S104 not bound
        ("false", "192.0.2.1", True),
        ("true", "0.0.0.0", False),  # noqa: S104 not bound
    ):
        asked = given | {"FACTORLINE_KEYS": keys, "FACTORLINE_PUBLISHED": published}
        with pytest.raises(errors.SettingError) if refused else contextlib.nullcontext() as caught:
            check_exposure(Settings.from_environ(asked))
        if caught is not None:
            assert "FACTORLINE_PUBLISHED" in str(caught.value)
    text = FILE.read_text()
    assert "FACTORLINE_PUBLISHED: ${FACTORLINE_PUBLISHED:-127.0.0.1}\n" in text
    assert 'ports: ["${FACTORLINE_PUBLISHED:-127.0.0.1}:80:8080", ' in text


def test_ports_are_published_on_loopback() -> None:
    """To be reachable from elsewhere takes a setting, and then only HAProxy is."""
    ports = {
        port["published"]: (name, port["host_ip"])
        for name, service in services().items()
        for port in service.get("ports", [])
    }

    assert {
        "80": ("haproxy", "127.0.0.1"),
        "8404": ("haproxy", "127.0.0.1"),
        "15672": ("rabbitmq", "127.0.0.1"),
        "9090": ("prometheus", "127.0.0.1"),
        "3000": ("grafana", "127.0.0.1"),
    } == ports


def test_haproxy_reaches_neither_the_broker_nor_the_store() -> None:
    """It shares a network with the gateways and with nothing else."""
    back = {name for name, service in services().items() if "back" in service["networks"]}

    assert {"gateway", "worker", "migrate", "rabbitmq", "mongo", "prometheus"} == back
    assert ["front"] == list(services()["haproxy"]["networks"])


def test_mounted_files_exist() -> None:
    """Docker would mount an empty folder in place of a missing file."""
    sources = [
        Path(volume["source"])
        for service in services().values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]

    assert sources
    assert [] == [source for source in sources if not source.exists()]
