"""Two services on one folder: the second one does not start, and says why."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from common import errors
from common.runtime import exclusive
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from infra.local.processes import free_ports
from infra.local.programs import ROOT, Embedded


def claim_elsewhere(folder: Path) -> subprocess.CompletedProcess[str]:
    """Have another process claim a folder."""
    program = (
        "import sys; from pathlib import Path; from common.runtime import exclusive;"
        "exclusive.claim(Path(sys.argv[1]), setting='FACTORLINE_DATA')"
    )
    return subprocess.run(  # noqa: S603 ours
        [sys.executable, "-c", program, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_folder_is_claimed_by_one_process_until_that_ends(tmp_path: Path) -> None:
    """It is free again after kill -9: what is left in the folder means nothing."""
    folder = tmp_path / "data"
    assert claim_elsewhere(folder).returncode == 0
    exclusive.claim(folder, setting="FACTORLINE_DATA")
    refused = claim_elsewhere(folder)

    assert refused.returncode == 1
    assert f"another service, with process id {os.getpid()}, uses this folder" in refused.stderr
    assert str(folder) in refused.stderr


async def test_a_second_service_on_a_folder_does_not_start(tmp_path: Path) -> None:
    """It ends with one sentence. The first one goes on, and `factorline keys` works beside it."""
    first, second = free_ports(2)
    async with Embedded(tmp_path, port=first, settings={}) as service:
        beside = run("infra.local", tmp_path / "data", FACTORLINE_PORT=str(second))
        assert beside.returncode == 1
        [line] = beside.stderr.strip().splitlines()
        assert line.startswith("factorline: FACTORLINE_DATA cannot be ")
        assert f"process id {service.pid}" in line
        async with aiohttp.ClientSession(service.url) as session:
            assert (await session.get("/healthz")).status == 200
        store = SqliteStore(tmp_path / "data" / "factorline.sqlite3")
        await store.open()
        assert [] == await store.list_keys()
        await store.close()


def run(module: str, data: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run one of our programs on a folder until it ends."""
    env = {**os.environ, "FACTORLINE_DATA": str(data), **settings}
    return subprocess.run(  # noqa: S603 ours
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def test_a_service_that_starts_again_counts_itself_alone(tmp_path: Path) -> None:
    """Even a moment after kill -9, whatever the dead worker has left in the store."""
    [port] = free_ports(1)
    service = Embedded(tmp_path, port=port, settings={"FACTORLINE_SLOTS": "1"})
    async with service:
        service.signal(signal.SIGKILL)
        await service.ended()
        await service.start()
        async with aiohttp.ClientSession(service.url) as session:
            shown = await (await session.get("/status")).json()

    assert len(shown["workers"]) == 1


async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Even in a folder that everybody reads, and if it was made by an older version."""
    path = tmp_path / "factorline.sqlite3"
    path.touch(mode=0o644)
    store = SqliteStore(path)
    await store.open()
    await store.ping()
    modes = modes_in(tmp_path)
    await store.close()

    assert {path.name, f"{path.name}-wal", f"{path.name}-shm"} == modes.keys()
    assert {0o600} == set(modes.values())


def modes_in(folder: Path) -> dict[str, int]:
    """Return the permissions of a folder's files."""
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


def test_a_unit_may_not_take_longer_than_rabbitmq_waits() -> None:
    """Half an hour after a message was delivered, RabbitMQ gives it to somebody else."""
    with pytest.raises(errors.SettingError, match="must be 1 to 1500, because RabbitMQ"):
        Settings.from_environ({"FACTORLINE_UNIT_SECONDS": "1501"})
