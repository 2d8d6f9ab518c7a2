"""The key in FACTORLINE_KEY_FILE: it works from the first start on, until it is revoked."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from common import errors
from common.broker.memory import MemoryBroker
from common.domain import digest_of_secret
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from gateway.access import doorkeeper
from gateway.app import create_app
from infra.local.secrets import make_secrets
from tests import waiting
from tests.access.conftest import Client


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """Return the key that `make secrets` has made."""
    make_secrets(tmp_path / "made", ["first_key"])
    return (tmp_path / "made" / "first_key").read_text()


@contextlib.asynccontextmanager
async def gateway(
    tmp_path: Path, store: SqliteStore, broker: MemoryBroker
) -> AsyncIterator[Client]:
    """Yield a client of a gateway with the file."""
    settings = Settings(keys=True, key_file=str(tmp_path / "made" / "first_key"))
    async with TestClient(TestServer(create_app(settings, store=store, broker=broker))) as client:
        yield client


async def test_it_opens_everything_from_the_first_start_on(
    tmp_path: Path, secret: str, store: SqliteStore, broker: MemoryBroker
) -> None:
    """It is an operator's; another gateway, or a second start, changes nothing."""
    headers = {"Authorization": f"Bearer {secret}"}
    for _ in range(2):
        async with (
            gateway(tmp_path, store, broker) as one,
            gateway(tmp_path, store, broker) as other,
        ):
            for client in (one, other):
                assert 200 == (await client.get("/status", headers=headers)).status
                assert 401 == (await client.get("/tasks")).status
    [key] = await store.list_keys()
    assert (digest_of_secret(secret), "first", "first") == (key.digest, key.name, key.owner)


async def test_once_revoked_it_stays_revoked(
    tmp_path: Path, secret: str, store: SqliteStore, broker: MemoryBroker
) -> None:
    """The file is still there at the next start."""
    headers = {"Authorization": f"Bearer {secret}"}
    async with gateway(tmp_path, store, broker):
        [key] = await store.list_keys()
        await store.revoke_key(key.key_id, store.now())
    async with gateway(tmp_path, store, broker) as client:
        assert 401 == (await client.get("/tasks", headers=headers)).status


async def test_it_is_entered_once_the_store_answers(
    tmp_path: Path,
    secret: str,
    store: SqliteStore,
    broker: MemoryBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A gateway may start before its store does."""
    monkeypatch.setattr(doorkeeper, "RECHECK_SECONDS", 0.05)
    there = store.insert_key

    async def away(_key: object) -> None:
        raise errors.StoreUnavailable("away")

    monkeypatch.setattr(store, "insert_key", away)
    async with gateway(tmp_path, store, broker) as client:
        headers = {"Authorization": f"Bearer {secret}"}
        assert 401 == (await client.get("/tasks", headers=headers)).status
        monkeypatch.setattr(store, "insert_key", there)

        async def entered() -> bool:
            return 200 == (await client.get("/tasks", headers=headers)).status

        await waiting.until(entered, "the first key")


@pytest.mark.parametrize("content", ["", "fl_short", "secret" * 8, "fl_" + "\u00e9" * 43])
async def test_a_file_without_a_key_is_refused(
    tmp_path: Path, store: SqliteStore, broker: MemoryBroker, content: str
) -> None:
    """So that nobody waits for a key that never works; the message does not show what is there."""
    file = tmp_path / "file"
    file.write_text(content)
    for path in (file, tmp_path / "none"):
        with pytest.raises(errors.SettingError, match="FACTORLINE_KEY_FILE") as caught:
            create_app(Settings(keys=True, key_file=str(path)), store=store, broker=broker)
        assert not content or content not in str(caught.value)
