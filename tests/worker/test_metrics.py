"""What a worker counts is counted when it happens."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from msgspec.structs import replace

from common.broker import Queue
from common.broker.memory import MemoryBroker, _Message
from common.domain import BigInt, Outcome, Outstanding, Solve, Task, Unit, Whole, factorizations
from common.lifecycle import Lifecycle, Submission, new_task
from common.numbers import ParsedNumber
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from factor_worker.admission import Admission
from factor_worker.engine.siqs.polynomials import parameters
from factor_worker.heartbeat import Heartbeat
from factor_worker.slots import forkserver
from factor_worker.sweeper import Sweeper
from factor_worker.worker import Worker
from tests import waiting
from tests.metrics import moves, value
from tests.stack.client import semiprimes
from tests.worker.workers import settlement

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIEVABLE = (10**22 + 9) * (10**21 + 117)


class World:
    """A worker of one slot over an embedded store and broker."""

    def __init__(self, folder: Path) -> None:
        self.store = SqliteStore(folder / "x.sqlite3")
        self.broker = MemoryBroker()
        self.lifecycle = Lifecycle(self.store, self.broker)
        self.worker = Worker(Settings(slots=1), self.store, self.broker)

    async def submit(self, number: int) -> Task:
        """Submit a number."""
        number_typed = ParsedNumber(number, str(number))
        submission = Submission(owner="somebody", numbers=(number_typed,))
        [stored] = await self.lifecycle.accept(submission)
        return stored

    async def end_of(self, number: int) -> None:
        """Return when a number has ended."""

        async def ended() -> bool:
            known = await self.store.get_factorization(number)
            return known is not None and known.ended is not None

        await waiting.until(ended, f"the end of {number}", seconds=30)

    def children(self) -> list[psutil.Process]:
        """Return the engine's processes, the survey slot's among them."""
        return [
            child
            for server in psutil.Process().children()
            if forkserver.PROGRAM in server.cmdline()
            for child in server.children()
            if child.status() != psutil.STATUS_ZOMBIE
        ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Yield a worker at work."""
    world = World(tmp_path_factory.mktemp("world"))
    await world.store.open()
    await world.broker.open()
    await world.worker.start(alone=True)
    yield world
    await world.worker.stop(grace_seconds=1)
    await world.broker.close()
    await world.store.close()


@pytest_asyncio.fixture(loop_scope="module")
async def idle(tmp_path: Path) -> AsyncIterator[World]:
    """Yield a store and a broker whose worker has not been started."""
    idle = World(tmp_path)
    await idle.store.open()
    await idle.broker.open()
    yield idle
    await idle.broker.close()
    await idle.store.close()


@pytest.mark.usefixtures("every_number_queued")
async def test_units_with_their_times(world: World) -> None:
    """A unit that was computed, how long that took, and how long the unit had waited."""
    async with (
        moves("factorline_units_total", kind="survey", result="done"),
        moves("factorline_unit_seconds_count", kind="survey"),
        moves("factorline_queue_seconds_count", queue="factor.survey"),
    ):
        await world.submit(1234)
        await world.end_of(1234)


@pytest.mark.usefixtures("every_number_queued")
async def test_a_unit_that_was_settled_before(world: World) -> None:
    """A second delivery of the same unit is counted."""
    [entry] = factorizations.begin(BigInt(1235), 0.0).outstanding.values()
    await world.submit(1235)
    await world.end_of(1235)
    async with moves("factorline_units_settled_before_total"):
        await world.broker.publish([entry.unit])


async def test_messages_that_are_not_units(world: World) -> None:
    """They become dead letters, which are counted by reason."""
    async with (
        moves("factorline_messages_malformed_total"),
        moves("factorline_dead_letters_total", reason="rejected"),
    ):
        await world.broker._put(Queue.WORK, _Message(b"junk", {}))  # noqa: SLF001 nobody publishes junk


async def test_a_swap_that_is_lost(idle: World) -> None:
    """Of two swaps from the same version, one is refused and has to start over."""
    settlement = idle.worker._consumer._settlement  # noqa: SLF001 two messages would have to come at the same time
    known = factorizations.begin(BigInt(1236), time.time())
    await idle.store.create_factorization(known)
    [unit_id] = known.outstanding
    async with moves("factorline_swaps_lost_total"):
        outcome = Outcome(unit_id=unit_id)
        await asyncio.gather(*(settlement.apply(known.number, outcome) for _ in range(2)))


async def test_child_processes_that_die(world: World) -> None:
    """Both while idle and in the middle of a unit; a slot is busy as long as its unit takes."""
    [hard] = semiprimes(1, digits=64, seed=9)
    assert 0 == value("factorline_slots_busy")
    async with moves("factorline_children_died_total", by=2, how="idle"):
        for child in world.children():
            child.kill()
            await asyncio.to_thread(child.wait, 5)
        task = await world.submit(hard)
        await waiting.until(
            lambda: value("factorline_units_total", kind="ecm", result="done") > 0, "a unit of work"
        )
    async with moves("factorline_children_died_total", how="crash"):
        busy: list[psutil.Process] = []

        def look() -> bool:
            busy[:] = [
                child
                for child in world.children()
                if child.cpu_times().user > 0.1 and child.nice() > psutil.Process().nice()
            ]
            return bool(busy) and value("factorline_slots_busy") > 0

        await waiting.until(look, "a busy child", seconds=60)
        in_flight = world.worker._consumer.in_flight.values()  # noqa: SLF001 no metric names the unit
        [kind] = {held.unit.kind for held in in_flight if held.slot is not None}
        async with moves("factorline_units_total", kind=kind, result="crash"):
            for child in busy:
                child.kill()
    await world.lifecycle.cancel(task)


async def test_relations_that_are_refused(world: World) -> None:
    """A batch that does not pass verification is counted and left out."""
    chosen = parameters.choose(SIEVABLE).to_dict()
    solve = Solve(BigInt(SIEVABLE), chosen)
    unit = Unit(unit_id="solve-1", number=BigInt(SIEVABLE), work=solve)
    known = replace(
        factorizations.begin(BigInt(SIEVABLE), time.time()),
        outstanding={unit.unit_id: Outstanding(unit=unit, issued_at=time.time())},
        outbox=(),
    )
    await world.store.create_factorization(known)
    await world.store.insert_batch(solve.target, "sieve-1", bytes(16) + b"junk")
    # With a task that wants it, or the sweeper would remove the unit while the last test's child starts.
    wish = replace(new_task(SIEVABLE, str(SIEVABLE), "somebody", at=1.7e9), joined=True)
    [task] = await world.store.insert_tasks([wish])
    async with moves("factorline_batches_refused_total"):
        await world.broker.publish([unit])
    await world.lifecycle.cancel(task)


async def test_sweeps(world: World) -> None:
    """Each completed one is counted."""
    del world
    await waiting.until(lambda: value("factorline_sweeps_total", result="done") > 0, "a sweep")


@pytest.mark.usefixtures("every_number_queued")
async def test_what_a_sweep_repairs(idle: World) -> None:
    """A task whose gateway died, an unpublished outbox, a lost unit, and work that nobody wants."""
    heartbeat = Heartbeat(idle.store, worker_id="w")
    admission = Admission(idle.store, idle.broker, heartbeat)
    sweeper = Sweeper(idle.store, idle.broker, settlement(idle.store, idle.broker), heartbeat)
    task = new_task(1237, "1237", "somebody", at=1.7e9)
    await idle.store.insert_tasks([task])
    async with moves("factorline_tasks_admitted_total", lane="short"):
        await admission.admit(ignore_age=True)
    await idle.store.create_factorization(factorizations.begin(BigInt(1238), time.time()))
    async with (
        moves("factorline_swept_total", what="outbox"),
        moves("factorline_swept_total", what="unwanted"),
    ):
        await sweeper.sweep(ignore_age=True)
    known = await idle.lifecycle.require(1237)
    lost = Unit(unit_id="lost", number=known.number, work=Whole(known.number))
    after = known.touched(time.time())
    after = replace(after, outstanding={"lost": Outstanding(unit=lost, issued_at=time.time())})
    assert await idle.store.swap_factorization(after)
    async with moves("factorline_swept_total", what="unit"):
        await sweeper.sweep(ignore_age=True)


@pytest.mark.usefixtures("every_number_queued")
async def test_how_long_a_queue_has_been_waiting(idle: World) -> None:
    """The age grows while nobody takes units, and the units count as waiting, not as lost."""
    await idle.submit(1234)
    heartbeat = Heartbeat(idle.store, worker_id="w")
    sweeper = Sweeper(idle.store, idle.broker, settlement(idle.store, idle.broker), heartbeat)
    await sweeper.sweep()

    assert 1 == value("factorline_queue_waiting", queue="factor.survey")
    first = value("factorline_queue_age_seconds", queue="factor.survey")
    await sweeper.sweep()
    assert 0 < first < value("factorline_queue_age_seconds", queue="factor.survey")
    assert 0 == value("factorline_queue_age_seconds", queue="factor.work")


async def test_a_store_that_does_not_answer(tmp_path: Path) -> None:
    """Each repeated call is counted."""
    world = World(tmp_path)
    await world.store.open()
    await world.store.close()
    before = value("factorline_store_retries_total")
    settlement = world.worker._consumer._settlement  # noqa: SLF001 the whole worker would not even start
    settling = asyncio.create_task(settlement.apply(BigInt(15), Outcome(unit_id="u")))
    await waiting.until(lambda: value("factorline_store_retries_total") > before, "a repeated call")
    settling.cancel()
    await asyncio.gather(settling, return_exceptions=True)
