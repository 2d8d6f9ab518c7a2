"""Numbers without progress are counted, and those that only wait for their turn are not."""

import functools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from common.broker import Delivery, Queue
from common.broker.memory import MemoryBroker
from common.domain import (
    BigInt,
    Certainty,
    Counted,
    Curves,
    Factorization,
    Method,
    Outcome,
    Part,
    Prove,
    Sieve,
    Sieved,
    Solve,
    Solving,
    Survey,
    Whole,
    Work,
    factorizations,
)
from common.lifecycle import new_task
from common.store.sqlite import SqliteStore
from factor_worker import metrics, plan
from factor_worker.heartbeat import Heartbeat
from factor_worker.plan import sieve
from factor_worker.stalls import LONGEST_GAP_SECONDS, Stalls
from factor_worker.sweeper import Sweeper
from tests import waiting
from tests.metrics import value
from tests.worker.workers import settlement

N = BigInt((10**35 + 69) * (10**36 + 67))
LOOK_SECONDS = 4.0


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


@pytest.fixture
def stalls(clock: Clock) -> Iterator[Stalls]:
    """Yield what a worker remembers that has not seen anything."""
    stalls = Stalls(clock)
    yield stalls
    stalls.forget()


def being_sieved() -> Factorization:
    """Return a number with a sieve unit outstanding."""
    part = Part(value=N, certainty=Certainty.COMPOSITE)
    state = sieve.begin(part)
    [work] = [unit for unit, _ in zip(sieve.works(part, [], 1), range(1), strict=False)]
    blank = replace(factorizations.begin(N, 1.0), outstanding={}, outbox=())
    return replace(blank, parts=(replace(part, sieve=state),)).with_issued([work], 1.0)


def look(stalls: Stalls, clock: Clock, known: Factorization, *, delivered: bool = True) -> float:
    """Look at a number as a sweeper does, for twice as long as is tolerated; return the metric."""
    for _ in range(int(2 * plan.patience_seconds(known) / LOOK_SECONDS)):
        clock.now += LOOK_SECONDS
        stalls.see(known, delivered=delivered)
    stalls.report()
    return value("factorline_numbers_stalled")


def test_a_number_without_progress_is_counted(stalls: Stalls, clock: Clock) -> None:
    """Until it makes progress."""
    known = being_sieved()

    assert 1 == look(stalls, clock, known)
    stalls.see(replace(known, cpu_seconds=9.0), delivered=True)
    stalls.report()
    assert 0 == value("factorline_numbers_stalled")


def test_issuing_a_lost_unit_again_is_no_progress(stalls: Stalls, clock: Clock) -> None:
    """Nor is a version that somebody else's cancellation made."""
    known = being_sieved()
    for turn in range(200):
        clock.now += LOOK_SECONDS
        outstanding = {
            unit_id: replace(entry, issued_at=clock.now)
            for unit_id, entry in known.outstanding.items()
        }
        stalls.see(replace(known, version=turn, outstanding=outstanding), delivered=True)
    stalls.report()

    assert 1 == value("factorline_numbers_stalled")


def test_a_number_whose_units_are_all_queued_is_not_counted(stalls: Stalls, clock: Clock) -> None:
    """It only waits for its turn, which the age of the queue shows."""
    assert 0 == look(stalls, clock, being_sieved(), delivered=False)


def test_a_number_that_waits_for_a_composite_is_not_counted(stalls: Stalls, clock: Clock) -> None:
    """That one is."""
    split = replace(
        factorizations.begin(3 * N, 1.0),
        outstanding={},
        outbox=(),
        parts=(Part(value=BigInt(3), certainty=Certainty.PROVEN), Part(value=N)),
    )

    assert 0 == look(stalls, clock, split)


def test_progress_of_a_solve_unit_is_progress(stalls: Stalls, clock: Clock) -> None:
    """It may take minutes."""
    known = being_sieved()
    [(unit_id, entry)] = known.outstanding.items()
    for step in range(200):
        clock.now += LOOK_SECONDS
        solving = Solving("lanczos", 1000, step, 1000)
        moved = replace(known, outstanding={unit_id: replace(entry, solving=solving)})
        stalls.see(moved, delivered=True)
    stalls.report()

    assert 0 == value("factorline_numbers_stalled")


def test_time_in_which_nobody_could_look_does_not_count(stalls: Stalls, clock: Clock) -> None:
    """After ten minutes without a store, no number is to blame."""
    known = being_sieved()
    stalls.see(known, delivered=True)
    clock.now += 599
    stalls.see(known, delivered=True)
    stalls.report()

    assert plan.patience_seconds(known) > LONGEST_GAP_SECONDS
    assert 0 == value("factorline_numbers_stalled")


def test_what_is_not_seen_any_more_is_not_counted(stalls: Stalls, clock: Clock) -> None:
    """It has ended, or another worker looks after it."""
    assert 1 == look(stalls, clock, being_sieved())
    clock.now += LONGEST_GAP_SECONDS + 1
    stalls.report()

    assert 0 == value("factorline_numbers_stalled")


async def emptied(broker: MemoryBroker) -> bool:
    """Return whether every unit has been delivered."""
    return await broker.depth(Queue.WORK) == 0


async def test_a_sweeper_counts_them(
    sqlite_store: SqliteStore, memory_broker: MemoryBroker
) -> None:
    """It looks at all active numbers of its share anyway."""
    known = replace(being_sieved(), outbox=())
    await sqlite_store.create_factorization(known)
    await sqlite_store.insert_tasks([replace(new_task(N, str(N), "ann", at=1.7e9), joined=True)])
    heartbeat = Heartbeat(sqlite_store, worker_id="w")
    workers = settlement(sqlite_store, memory_broker)
    sweeper, clock = Sweeper(sqlite_store, memory_broker, workers, heartbeat), Clock()
    sweeper._stalls = Stalls(clock)  # noqa: SLF001 nobody waits for minutes

    async def lose(delivery: Delivery) -> None:
        await delivery.ack()

    await memory_broker.consume(Queue.WORK, lose, prefetch=1)
    for _ in range(60):
        clock.now += LOOK_SECONDS
        await sweeper.sweep(ignore_age=True)
        await waiting.until(functools.partial(emptied, memory_broker), "the unit to get lost")

    assert 1 == value("factorline_numbers_stalled")
    sweeper._skip()  # noqa: SLF001 it loses its share
    assert 0 == value("factorline_numbers_stalled")


WORKS: tuple[Work, ...] = (
    Survey(N),
    Curves(N, Method.ECM, 1_000_000, 6, 10),
    Curves(N, Method.P_MINUS_1, 1_000_000, 6, 1),
    Whole(N),
    Sieve(N, sieve.begin(Part(value=N)).parameters, 0, 10),
    Solve(N, sieve.begin(Part(value=N)).parameters),
    Prove(N),
)


@given(work=st.sampled_from(WORKS), slowness=st.floats(1, 9))
def test_every_kind_of_unit_has_a_forecast(work: Work, slowness: float) -> None:
    """Not one is tolerated for ever, and a slow machine gets more time."""
    blank = replace(factorizations.begin(N, 1.0), outstanding={}, outbox=())
    quick, slow = (
        plan.patience_seconds(replace(blank, slowness=factor).with_issued([work], 1.0))
        for factor in (1.0, slowness)
    )

    assert plan.patience_seconds(blank) < quick <= slow < 3600


def test_a_sieve_that_is_off_course_says_so() -> None:
    """Once when it has tried three times its forecast, and once for each other turn."""
    known = being_sieved()
    [part] = known.parts
    turns = []
    for second in range(100):
        state = sieve.after_sieve(part.sieve or sieve.begin(part), Sieved(200, 1, 5), 1.0, second)
        grown = replace(part, sieve=state)
        turns.append(plan.off_course(with_part(known, part), with_part(known, grown)))
        part = grown
    assert part.sieve is not None
    lost = replace(part, sieve=sieve.after_count(part.sieve, Counted(0, part.sieve.needed)))
    hopeless = replace(part, gave_up={"sieve": "it leads nowhere"})
    split = Part(value=BigInt(10**35 + 69), certainty=Certainty.PROVEN)

    assert [plan.OffCourse.OVERRUN] == [turn for turn in turns if turn]
    assert plan.OffCourse.ANEW is plan.off_course(with_part(known, part), with_part(known, lost))
    given_up = plan.off_course(with_part(known, part), with_part(known, hopeless))
    assert plan.OffCourse.GIVEN_UP is given_up
    assert plan.off_course(with_part(known, part), with_part(known, split)) is None


def with_part(known: Factorization, part: Part) -> Factorization:
    """Return the number with another part in place of its own."""
    return replace(known, parts=(part,))


async def test_a_turn_of_a_sieve_is_counted(
    sqlite_store: SqliteStore, memory_broker: MemoryBroker
) -> None:
    """Whoever settles the outcome that leads to it counts it, and every turn is there from the start."""
    known = being_sieved()
    [part] = known.parts
    enough = replace(part.sieve or sieve.begin(part), usable=10**6)
    blank = replace(known, outstanding={}, parts=(replace(part, sieve=enough),))
    known = replace(blank.with_issued([Solve(N, enough.parameters)], 1.0), outbox=())
    [unit_id] = known.outstanding
    await sqlite_store.create_factorization(known)
    before = value("factorline_sieves_off_course_total", turn="begun anew")
    outcome = Outcome(unit_id=unit_id, counted=Counted(0, 1000))
    await settlement(sqlite_store, memory_broker).apply(N, outcome)

    assert before + 1 == value("factorline_sieves_off_course_total", turn="begun anew")
    [family] = metrics.SIEVES_OFF_COURSE.collect()
    turns = {sample.labels["turn"] for sample in family.samples}
    assert {turn.value for turn in plan.OffCourse} == turns
