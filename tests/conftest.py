"""Servers for the tests, and the rule that nothing is skipped in silence."""

import os
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import hypothesis
import pytest
import pytest_asyncio

from common import lifecycle
from common.broker import Broker
from common.broker.memory import MemoryBroker
from common.domain import small
from common.store import Store
from common.store.sqlite import SqliteStore
from infra.local.processes import NotInstalled
from infra.local.rabbitmq import RabbitNode
from infra.local.stack import Stack
from tests import balance, servers

# By default an example that takes 200 ms fails: a test would depend on how busy its machine is.
hypothesis.settings.register_profile("factorline", deadline=None)
hypothesis.settings.load_profile("factorline")

MAY_SKIP = os.environ.get("FACTORLINE_MAY_SKIP")
"""If set: words, comma-separated. A skip whose reason does not begin with "word: " is a failure."""


def pytest_report_header() -> list[str]:
    """Say which servers the tests run against."""
    return servers.describe()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests, so that what takes long begins early."""
    items.sort(key=lambda item: balance.place_of(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> balance.ByService:
    """Keep the tests that share a service on one worker."""
    return balance.ByService(config, log)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_amqp_url() -> AsyncIterator[str]:
    """Yield the address of a broker that is given or a container: no test may stop it."""
    async with servers.rabbitmq() as url:
        yield url


@pytest.fixture
def amqp_url(request: pytest.FixtureRequest) -> str:
    """Return the address of a broker that has none of our queues when a test opens it afresh."""
    if not servers.has_rabbitmq():
        node: RabbitNode = request.getfixturevalue("private_rabbitmq")
        return node.amqp_url
    url: str = request.getfixturevalue("shared_amqp_url")
    return url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Yield the address of a MongoDB that all tests share and none may stop."""
    async with servers.mongo(tmp_path_factory.mktemp("mongo")) as uri:
        yield uri


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_private_rabbitmq(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RabbitNode]:
    """Yield the node behind `private_rabbitmq`."""
    async with servers.private_rabbitmq(tmp_path_factory.mktemp("private-rabbitmq")) as node:
        yield node


@pytest.fixture
async def private_rabbitmq(shared_private_rabbitmq: RabbitNode) -> RabbitNode:
    """Return a running node of our own, with an empty virtual host, that a test may kill."""
    await shared_private_rabbitmq.start()
    await shared_private_rabbitmq.use_fresh_vhost()
    return shared_private_rabbitmq


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Yield the stack behind `stack`: two gateways, two workers of one slot."""
    try:
        stack = Stack(tmp_path_factory.mktemp("stack"))
    except NotInstalled as error:
        pytest.skip(f"stack: {error}")
    async with stack:
        yield stack
        servers.kill(stack)


@pytest.fixture
async def stack(shared_stack: Stack) -> Stack:
    """Return the stack with every process running, whatever the test before did to it."""
    for process in (*shared_stack.servers, *shared_stack.programs):
        await process.start()
    return shared_stack


@pytest.fixture
async def sqlite_store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Yield an empty SQLite store."""
    store = SqliteStore(tmp_path / "x.sqlite3")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def store(sqlite_store: SqliteStore) -> Store:
    """Return the store of a test whose folder has no other one."""
    return sqlite_store


@pytest.fixture
async def memory_broker() -> AsyncIterator[MemoryBroker]:
    """Yield an open memory broker."""
    broker = MemoryBroker()
    await broker.open()
    yield broker
    await broker.close()


@pytest.fixture
def broker(memory_broker: MemoryBroker) -> Broker:
    """Return the broker of a test whose folder has no other one."""
    return memory_broker


@pytest.fixture
def every_number_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let numbers of less than 64 bits wait and be computed by units, as larger ones are.

    The product answers them at once. A test that follows a number through the store and the broker
    can be about 1234 = 2 * 617 with this, in place of numbers that nobody can check at a glance.
    """
    monkeypatch.setattr(small, "LIMIT", lifecycle.SMALLEST_FACTORABLE)


def _forbid(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure unless `FACTORLINE_MAY_SKIP` allows it."""
    if MAY_SKIP is None or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if reason.partition(":")[0] not in MAY_SKIP.split(","):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, which is a failure here: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look at every test's report."""
    report = yield
    _forbid(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Look at every report of a module: it may skip as a whole."""
    report = yield
    _forbid(report)
    return report
