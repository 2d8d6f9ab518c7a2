"""`factorline keys` on both stores, and a service with keys that the client and the command use."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.domain import digest_of_secret
from factorline import Client
from factorline.errors import NotAllowed
from infra.local.processes import free_ports
from infra.local.programs import ROOT, Embedded
from tests.contract.conftest import opened_mongo


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `factorline` as its users do."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("FACTORLINE_")}
    return subprocess.run(  # noqa: S603 our own
        [sys.executable, "-m", "factorline", *arguments],
        env={**kept, "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def check_life_of_a_key(settings: dict[str, str]) -> str:
    """Make, list and revoke a key; return the secret of another key, which stays valid."""
    kind = ("--expires", "90d", "--read-only", "--from", "10.0.0.0/8, 2001:db8::/32")
    limits = ("--tasks", "5", "--requests-per-second", "2.5")
    made = run("keys", "make", "ann", *limits, *kind, **settings)
    assert 0 == made.returncode, made.stderr
    secret = made.stdout.strip()
    key_id = digest_of_secret(secret)[:12]
    assert secret not in made.stderr
    assert key_id in made.stderr
    other = run("keys", "make", "ops", "--operator", "--owner", "ann", **settings).stdout.strip()
    listed = run("keys", "list", **settings).stdout
    assert secret not in listed
    assert [key_id, digest_of_secret(other)[:12]] == [line[:12] for line in listed.splitlines()]
    for word in ("2.5 requests/s", "read-only", "from 10.0.0.0/8,2001:db8::/32", "never used"):
        assert word in listed
    assert 1 == listed.count("  expires 20")
    revoked = run("keys", "revoke", key_id, **settings)
    assert 0 == revoked.returncode
    assert 1 == run("keys", "list", **settings).stdout.count("REVOKED")
    lines = [
        json.loads(line) for line in (made.stderr + revoked.stderr).splitlines() if "{" in line
    ]
    audited = [line for line in lines if line["logger"] == "factorline.audit"]
    assert [("API key made", key_id), ("API key revoked", key_id)] == [
        (line["event"], line["key_id"]) for line in audited
    ]
    assert all("@" in line["by"] for line in audited)
    return other


def test_keys_in_sqlite(tmp_path: Path) -> None:
    """No server is needed."""
    check_life_of_a_key({"FACTORLINE_DATA": str(tmp_path)})


async def test_keys_in_mongodb(mongodb_uri: str) -> None:
    """The command finds the store by the settings that the gateway uses."""
    async with opened_mongo(mongodb_uri) as store:
        server, _, options = mongodb_uri.partition("?")
        base = "/".join(server.split("/")[:3])
        uri = f"{base}/{store._db.name}?{options}"  # noqa: SLF001 the test's own database
        other = await asyncio.to_thread(check_life_of_a_key, {"FACTORLINE_MONGODB_URI": uri})
        [key] = await store.find_keys([digest_of_secret(other)])

    assert ("ann", True) == (key.owner, key.operator)


@pytest.mark.parametrize(
    "arguments",
    [
        ("make",),
        ("make", "a b"),
        ("make", "x" * 65),
        ("make", "a", "--burst", "3"),
        ("make", "a", "--tasks", "0"),
        ("make", "a", "--requests-per-second", "nan"),
        ("make", "a", "--expires", "soon"),
        ("make", "a", "--expires", "0d"),
        ("make", "a", "--from", "10.0.0.1/8"),
        ("make", "a", "--from", ","),
        ("revoke", "nobody"),
        ("revoke", "-x"),
    ],
)
def test_bad_arguments_make_no_key(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """The message says what is wrong, and neither a key nor a store is made."""
    settings = {"FACTORLINE_DATA": str(tmp_path)}
    refused = run("keys", *arguments, **settings)

    assert refused.returncode != 0
    assert refused.stderr
    assert "Traceback" not in refused.stderr
    assert [] == list(tmp_path.iterdir())


def test_keys_are_not_looked_for_where_there_is_no_store(tmp_path: Path) -> None:
    """The message says where it looked, and nothing is made."""
    listed = run("keys", "list", FACTORLINE_DATA=str(tmp_path / "data"))

    assert 1 == listed.returncode
    assert "There is no store here" in listed.stderr
    assert str(tmp_path / "data" / "factorline.sqlite3") in listed.stderr
    assert [] == list(tmp_path.iterdir())


def test_a_public_address_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """The message says what to do."""
    settings = {"FACTORLINE_HOST": "0.0.0.0", "FACTORLINE_DATA": str(tmp_path)}  # noqa: S104 refused
    refused = run("serve", **settings)

    assert 1 == refused.returncode
    assert "factorline keys make" in refused.stderr
    assert [] == list(tmp_path.iterdir())


async def test_the_client_and_the_command_show_their_key(tmp_path: Path) -> None:
    """With FACTORLINE_API_KEY they may use a service that requires keys, and without it they may not."""
    [port] = free_ports(1)
    settings = {"FACTORLINE_SLOTS": "1", "FACTORLINE_KEYS": "true"}
    async with Embedded(tmp_path, port=port, settings=settings) as service:
        data = str(tmp_path / "data")
        made = await asyncio.to_thread(run, "keys", "make", "ann", FACTORLINE_DATA=data)
        secret = made.stdout.strip()
        url = {"FACTORLINE_URL": service.url}
        command = ("submit", "8051", "--wait", "--quiet")
        without = await asyncio.to_thread(run, *command, **url)
        answered = await asyncio.to_thread(run, *command, **url, FACTORLINE_API_KEY=secret)
        wrong = await asyncio.to_thread(run, *command, **url, FACTORLINE_API_KEY=f"fl_{'x' * 43}")
        async with Client(service.url, api_key=secret) as client:
            task = await client.submit(10403)
            states = [state async for state in client.watch(task.task_id)]
        async with Client(service.url) as stranger:
            with pytest.raises(NotAllowed):
                [state async for state in stranger.watch(task.task_id)]

    assert 0 == answered.returncode, answered.stderr
    assert "83" in answered.stdout
    assert "97" in answered.stdout
    for refused in (without, wrong):
        assert refused.returncode != 0
        assert "API key" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert states[-1].done
