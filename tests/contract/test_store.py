"""What every store promises; the same tests run against SQLite and against a MongoDB server."""

import asyncio

import pytest
from msgspec.structs import replace

from common import errors
from common.domain import (
    ALL_SHARDS,
    SHARDS,
    BigInt,
    Certainty,
    Cluster,
    Effort,
    Ending,
    Factorization,
    Failure,
    Fault,
    KeyedRequest,
    Lane,
    Outcome,
    Part,
    Piece,
    Sieve,
    SieveState,
    Status,
    Task,
    WorkerStatus,
    accounts,
    api_keys,
    factorizations,
    new_task_id,
    shard_of,
)
from common.lifecycle import new_task
from common.store import Store, TaskCursor
from common.store.mongo import MongoStore

pytestmark = pytest.mark.usefixtures("every_number_queued")

ENDED = Ending(status=Status.SUCCEEDED, at=5.0)
CANCELLED = Ending(status=Status.CANCELLED, at=6.0, reason="on request")
BIG = 10**999 + 7


def task(number: int = 91, *, owner: str = "ann", at: float = 1.0, key: str | None = None) -> Task:
    """Return a new task, with a key as version 0.1 stored it."""
    return replace(new_task(number, str(number), owner, at=at), idempotency_key=key)


def worker(worker_id: str, seen_at: float) -> WorkerStatus:
    """Return a worker's word about itself."""
    return WorkerStatus(
        worker_id=worker_id,
        host="h",
        pid=1,
        slots=2,
        running=("a-1",),
        large=(BigInt(BIG),),
        newest_issue={"factor.work": 3.5},
        started_at=0.0,
        seen_at=seen_at,
    )


async def test_a_task_comes_back_as_it_was(store: Store) -> None:
    """A number of a thousand digits, a negative one and an odd expression survive."""
    tasks = [task(BIG), task(-12), replace(task(), expression='"$where\x1b'), task(key="k.$1")]
    await store.insert_tasks(tasks)

    assert tasks == [await store.get_task(each.task_id, "ann") for each in tasks]


async def test_another_owners_task_is_an_unknown_one(store: Store) -> None:
    """The two errors are the same to the letter."""
    [stored] = await store.insert_tasks([task()])
    with pytest.raises(errors.UnknownTask) as theirs:
        await store.get_task(stored.task_id, "bob")

    assert str(errors.UnknownTask(task_id=stored.task_id)) == str(theirs.value)


async def test_many_tasks_are_read_together(store: Store) -> None:
    """Whoever owns them; unknown ones are left out, and there may be more than one query asks for."""
    many = [task(91, owner=f"o{i % 3}") for i in range(100)]
    await store.insert_tasks(many)
    unknown = [f"nobody-{i}" for i in range(3000)]
    found = await store.get_tasks([*unknown, *(each.task_id for each in many)])

    assert {each.task_id: each for each in many} == {each.task_id: each for each in found}
    assert len(many) == len(found)
    assert [] == await store.get_tasks([])


def keyed(store: Store, request_id: str = "r", *, made_at: float = 0.0) -> KeyedRequest:
    """Return a request that came with a key, made this many seconds ago."""
    return KeyedRequest(
        request_id=request_id,
        digest=f"of {made_at}",
        task_ids=("a", "b"),
        made_at=store.now() - made_at,
    )


async def test_a_request_is_stored_once(store: Store) -> None:
    """Whoever repeats it, at the same time or later, is given what was stored first."""
    first = keyed(store)

    assert await store.get_request("r") is None
    assert first == await store.insert_request(first)
    again = await asyncio.gather(*(store.insert_request(keyed(store, made_at=1)) for _ in range(9)))
    assert [first] * 9 == again
    assert first == await store.get_request("r")
    assert (other := keyed(store, "s")) == await store.insert_request(other)


async def test_a_request_is_kept_for_a_day(store: Store) -> None:
    """After that its key is free, even if nobody has tidied up yet."""
    old = keyed(store, made_at=86_401)
    await store.insert_request(old)

    assert await store.get_request("r") is None
    assert (new := keyed(store)) == await store.insert_request(new)
    assert new == await store.get_request("r")
    assert new == await store.insert_request(old)


async def test_tasks_are_found_by_their_keys_of_version_0_1(store: Store) -> None:
    """Those of the owner alone, and only those that there are."""
    first, second, free, theirs = (
        task(key="k.$1"),
        task(key="k2"),
        task(),
        task(owner="bob", key="k"),
    )
    await store.insert_tasks([first, second, free, theirs])

    found = await store.list_keyed("ann", ["k2", "k", "k.$1", "k3"])
    assert sorted([first.task_id, second.task_id]) == sorted(one.task_id for one in found)
    assert first in found


async def test_one_call_with_a_task_twice_inserts_it_once(store: Store) -> None:
    """Duplicates within one call are found too, and the rest is stored."""
    first, third = task(), task()

    assert [first, first, third] == await store.insert_tasks([first, first, third])


async def test_ended_tasks_can_be_erased(store: Store) -> None:
    """All of an owner's, the oldest first, or some; never a live one, and never another owner's."""
    old, new, live = task(at=1.0), task(at=2.0), task(at=3.0)
    theirs = task(owner="bob")
    await store.insert_tasks([old, new, live, theirs])
    for each in (old, new, theirs):
        await store.end_task(each.task_id, ENDED)
    nobodys = new_task_id()

    assert 0 == await store.erase_tasks("ann", [live.task_id, theirs.task_id, nobodys], limit=9)
    assert 1 == await store.erase_tasks("ann", limit=1)
    assert {new.task_id, live.task_id} == {
        each.task_id for each in await store.get_tasks([old.task_id, new.task_id, live.task_id])
    }
    assert 1 == await store.erase_tasks("ann", [new.task_id], limit=9)
    assert 0 == await store.erase_tasks("ann", limit=9)
    with pytest.raises(errors.UnknownTask):
        await store.get_task(new.task_id, "ann")
    assert 2 == len(await store.get_tasks([live.task_id, theirs.task_id]))
    assert [new] == await store.insert_tasks([new])


async def test_the_store_says_how_large_it_is(store: Store) -> None:
    """By parts where it has them."""
    await store.insert_tasks([task() for _ in range(100)])

    sizes = await store.measure()

    assert all(size.size_bytes >= 0 for size in sizes)
    assert sum(size.size_bytes for size in sizes) > 0
    assert {size.documents for size in sizes if size.part == "tasks"} <= {100}


async def test_a_retried_insert_changes_nothing(store: Store) -> None:
    """The stored task comes back, even if it has ended meanwhile."""
    [stored] = await store.insert_tasks([task()])
    ended = await store.end_task(stored.task_id, ENDED)

    assert [ended] == await store.insert_tasks([stored])


async def test_no_tasks_are_inserted_from_nothing(store: Store) -> None:
    """An empty batch is no error."""
    assert [] == await store.insert_tasks([])


async def test_pages_go_from_new_to_old_without_gaps(store: Store) -> None:
    """Tasks of the same instant are told apart by their ids, and other owners' are not seen."""
    tasks = [task(at=float(i // 3)) for i in range(10)]
    await store.insert_tasks([*tasks, task(owner="bob")])
    seen: list[Task] = []
    before: TaskCursor | None = None
    while page := await store.list_tasks("ann", before=before, limit=3):
        seen += page
        before = TaskCursor(page[-1].created_at, page[-1].task_id)

    assert sorted(tasks, key=lambda t: (t.created_at, t.task_id), reverse=True) == seen


async def test_the_first_ending_stays(store: Store) -> None:
    """However a completion and cancellations race, one of them wins for good."""
    [stored] = await store.insert_tasks([task()])
    race = [store.end_task(stored.task_id, ending) for ending in (ENDED, CANCELLED) * 5]
    endings = {each.ended for each in await asyncio.gather(*race)}

    assert 1 == len(endings)
    assert {(await store.get_task(stored.task_id, "ann")).ended} == endings
    with pytest.raises(errors.UnknownTask):
        await store.end_task("nobody", ENDED)


async def test_a_numbers_live_tasks_end_up_to_a_round(store: Store) -> None:
    """Later rounds, other numbers and tasks that have ended are left alone; the sign is no other number."""
    mine, minus, later, other = task(91), task(-91), replace(task(91), round=2), task(92)
    [gone] = await store.insert_tasks([task(91)])
    await store.end_task(gone.task_id, CANCELLED)
    await store.insert_tasks([mine, minus, later, other])

    assert await store.is_wanted(91)
    await store.end_tasks(91, up_to_round=1, ending=ENDED)
    ended = [
        await store.get_task(each.task_id, "ann") for each in (mine, minus, later, other, gone)
    ]
    assert [ENDED, ENDED, None, None, CANCELLED] == [each.ended for each in ended]
    assert await store.is_wanted(91)
    await store.end_tasks(91, up_to_round=2, ending=ENDED)
    assert not await store.is_wanted(91)


def waiting(number: int, *parts: int) -> Factorization:
    """Return the factorization of a number that is split into these composites."""
    pieces = tuple(Part(value=BigInt(part), certainty=Certainty.COMPOSITE) for part in parts)
    return replace(factorizations.begin(number, 1.0), parts=pieces, outstanding={}, outbox=())


async def test_those_who_wait_for_a_composite_are_found(store: Store) -> None:
    """By key and in pages, for as long as they wait; the composite is wanted for as long as any does."""
    numbers = [(part, part * BIG) for part in (91, 93, 95)]
    for part, number in numbers:
        await store.create_factorization(waiting(number, part, BIG))
    found = await store.list_waiting(BIG, after=None, limit=2)
    more = await store.list_waiting(BIG, after=found[-1].number, limit=2)

    assert sorted(number for _, number in numbers) == sorted(
        known.number for known in [*found, *more]
    )
    assert [numbers[0][1]] == [
        known.number for known in await store.list_waiting(91, after=None, limit=9)
    ]
    other = await store.insert_tasks([task(-89), task(89), task(87)])
    await store.end_task(other[2].task_id, CANCELLED)
    assert [False, False, True, True, True] == await store.list_wanted([86, 87, 89, BIG, 93])
    for known in [*found, *more]:
        assert await store.is_wanted(BIG)
        assert await store.swap_factorization(known.rested(2.0))
    assert not await store.is_wanted(BIG)
    assert [] == await store.list_waiting(BIG, after=None, limit=9)


async def test_numbers_of_which_something_is_stored(store: Store) -> None:
    """Each is named once, whether outcomes are there or relations or both."""
    assert [] == await store.list_stored()
    for number in (93, 91, 1000):
        for unit_id in ("u-1", "u-2"):
            await store.insert_outcome(number, Outcome(unit_id=unit_id))
    for number in (91, 95):
        await store.insert_batch(number, "u-1", b"relations")
    assert [91, 93, 95, 1000] == sorted(await store.list_stored())
    await store.delete_outcomes(93, ["u-1", "u-2"])
    await store.delete_outcomes(91, ["u-1", "u-2"])
    await store.delete_batches(95)
    assert [91, 1000] == sorted(await store.list_stored())


async def test_an_outcome_is_kept_until_it_is_deleted(store: Store) -> None:
    """Once for each unit, in full, and apart from those of other numbers."""
    pieces = (Piece(BigInt(BIG), 2, Certainty.COMPOSITE), Piece(BigInt(3), 1, Certainty.PROVEN))
    first = Outcome(unit_id="u-1", worker_id="w", pieces=pieces, cpu_seconds=1.5)
    failed = Outcome(unit_id="u-2", failure=Failure(Fault.CRASH, "it died"))
    await asyncio.gather(
        *(store.insert_outcome(91, outcome) for outcome in (first, failed)),
        store.insert_outcome(93, first),
    )
    await store.insert_outcome(91, Outcome(unit_id="u-1"))

    assert [first, failed] == sorted(await store.list_outcomes(91), key=lambda each: each.unit_id)
    await store.delete_outcomes(91, ["u-1", "u-3"])
    assert [failed] == await store.list_outcomes(91)
    assert [first] == await store.list_outcomes(93)
    assert [first] == await store.list_outcomes(93, [first.unit_id, "another"])
    assert [] == await store.list_outcomes(93, [])


async def test_a_thousand_sieve_units_fit_into_a_small_document(store: Store) -> None:
    """What differs between them is stored once for each, and comes back in full."""
    number = BigInt(BIG)
    state = SieveState(parameters={"size": 100_000, "blocks": 7}, needed=98_000)
    part = Part(value=number, certainty=Certainty.COMPOSITE, sieve=state)
    blank = replace(factorizations.begin(BIG, 1.0), parts=(part,), outstanding={}, outbox=())
    works = [Sieve(number, state.parameters, 300 * unit, 300) for unit in range(1000)]
    known = blank.with_issued(works[:900], 2.5).with_issued(works[900:], 3.25)
    odd = known.outstanding[known.outbox[5]]
    outstanding = {**known.outstanding, known.outbox[5]: replace(odd, faults={Fault.CRASH: 1})}
    known = replace(known, outstanding=outstanding, outbox=known.outbox[-3:])
    await store.create_factorization(known)

    assert len(known.encode()) < 64_000
    stored = await store.get_factorization(BIG)
    assert stored is not None
    assert known.outstanding == stored.outstanding
    assert known.units_in_outbox() == stored.units_in_outbox()
    assert await store.swap_factorization(known.touched(4.0))


async def test_who_waits_for_something_else_now_is_found_there(store: Store) -> None:
    """A composite that is taken in is not waited for any longer, but what is left of it is."""
    known = await store.create_factorization(waiting(91 * BIG, 91 * BIG - 1))
    split = replace(waiting(91 * BIG, BIG), version=known.version + 1)
    assert await store.swap_factorization(split)

    assert [] == await store.list_waiting(91 * BIG - 1, after=None, limit=9)
    assert [split] == await store.list_waiting(BIG, after=None, limit=9)


async def test_tasks_that_never_met_their_number_are_found(store: Store) -> None:
    """Oldest first, only live ones, and not once they are marked."""
    old, new, joined, ended = task(at=1.0), task(at=2.0), task(at=1.5), task(at=1.2)
    await store.insert_tasks([new, old, joined, ended])
    await store.mark_joined([joined.task_id])
    await store.end_task(ended.task_id, CANCELLED)

    short = Lane.SHORT
    assert [old, new] == await store.list_unjoined("ann", short, created_before=9.0, limit=10)
    assert [old] == await store.list_unjoined("ann", short, created_before=2.0, limit=10)
    assert [old] == await store.list_unjoined("ann", short, created_before=9.0, limit=1)
    assert [] == await store.list_unjoined("ann", Lane.LONG, created_before=9.0, limit=1)
    assert [] == await store.list_unjoined("bob", short, created_before=9.0, limit=1)
    assert (await store.get_task(joined.task_id, "ann")).joined


async def test_the_numbers_of_begun_tasks_are_paged_by_key(store: Store) -> None:
    """Each comes once, and none that nobody asks for any more or that has not been begun."""
    begun = [task(number) for number in [*range(90, 100), -95, 96, BIG]]
    waiting, ended = task(80), task(97)
    await store.insert_tasks([*begun, waiting, ended, task(98, owner="bob")])
    await store.mark_joined([each.task_id for each in [*begun, ended]])
    await store.end_task(ended.task_id, CANCELLED)
    await store.end_tasks(92, up_to_round=1, ending=ENDED)
    seen: list[int] = []
    while page := await store.list_begun(after=seen[-1] if seen else None, limit=3):
        seen += page

    assert sorted({*range(90, 100), BIG} - {92}, key=str) == seen


async def test_numbers_whose_work_has_ended_are_told_from_others(store: Store) -> None:
    """Those that rest, are worked on or are unknown have not ended."""
    ended = replace(rich(91), outstanding={}, outbox=(), ended=ENDED)
    for known in (ended, rich(92), rich(93).rested(2.0)):
        await store.create_factorization(known)

    assert [ended] == await store.list_ended([91, 92, 93, 94])
    assert [] == await store.list_ended([])


async def test_queues_are_owners_and_lanes_with_something_waiting(store: Store) -> None:
    """Each is named once, however long it is; what is joined, ended or new does not count."""
    ann = [task(number) for number in range(100, 130)]
    cat, dan, eve = task(owner="cat"), task(owner="dan"), task(owner="eve", at=8.0)
    await store.insert_tasks([*ann, task(BIG), task(BIG, owner="bob"), cat, dan, eve])
    await store.mark_joined([cat.task_id])
    await store.end_task(dan.task_id, CANCELLED)

    assert [("ann", Lane.LONG), ("ann", Lane.SHORT), ("bob", Lane.LONG)] == sorted(
        await store.list_queues(["ann", "bob", "cat", "dan", "eve"], created_before=5.0)
    )
    assert ["ann", "bob", "eve"] == await store.list_waiting_owners()
    assert [("bob", Lane.LONG), ("eve", Lane.SHORT)] == sorted(
        await store.list_queues(["bob", "eve"], created_before=9.0)
    )


async def test_live_tasks_are_counted_by_owner_lane_and_joining(store: Store) -> None:
    """The count stops at its limit."""
    joined, ended = task(), task()
    await store.insert_tasks([joined, ended, task(), task(), task(-BIG), task(owner="bob")])
    await store.mark_joined([joined.task_id])
    await store.end_task(ended.task_id, CANCELLED)

    assert 4 == await store.count_live("ann", limit=9)
    assert 2 == await store.count_live("ann", limit=2)
    assert 3 == await store.count_live("ann", lane=Lane.SHORT, limit=9)
    assert 1 == await store.count_live("ann", lane=Lane.LONG, limit=9)
    assert 1 == await store.count_live("ann", lane=Lane.SHORT, joined=True, limit=9)
    assert 2 == await store.count_live("ann", lane=Lane.SHORT, joined=False, limit=9)
    assert 0 == await store.count_live("cat", limit=9)
    assert 0 == await store.count_live("ann", limit=0)


async def test_owners_of_numbers_are_those_who_want_or_wanted_them_lately(store: Store) -> None:
    """The sign of a number does not matter, nor how many tasks an owner has."""
    mine, gone, just = task(91), task(91, owner="bob"), task(91, owner="cat")
    await store.insert_tasks([mine, task(-91), gone, just, task(92, owner="dan")])
    await store.end_task(gone.task_id, ENDED)
    await store.end_task(just.task_id, CANCELLED)

    found = await store.list_owners([91, 92, 93], since=5.5)
    assert [{"ann", "cat"}, {"dan"}, set()] == found


async def test_owners_with_live_and_ended_tasks_are_found_once(store: Store) -> None:
    """Several owners want a number, and some of them wanted it before, too."""
    tasks = [task(91, owner=owner) for owner in ("ann", "bob", "cat") for _ in range(3)]
    await store.insert_tasks(tasks)
    for each in tasks[::3]:
        await store.end_task(each.task_id, ENDED)
    for each in tasks[3:6]:
        await store.end_task(each.task_id, ENDED)

    assert [{"ann", "bob", "cat"}] == await store.list_owners([91], since=4.5)
    assert [{"ann", "cat"}] == await store.list_owners([91], since=5.0)


async def test_a_key_is_found_by_its_digest_alone(store: Store) -> None:
    """It comes back whole; nothing in the store holds the secret."""
    limits = api_keys.KeyLimits(requests_per_second=2.5, burst=7, tasks=9, cpu_seconds_a_day=1e6)
    made = api_keys.new_key(
        "laptop",
        owner="ann",
        operator=True,
        read_only=True,
        networks=("10.0.0.0/8", "2001:db8::/32"),
        limits=limits,
        expires_at=9.0,
        made_by="ops@here",
        now=2.0,
    )
    other = api_keys.new_key("bob", now=1.0)
    for each in (made, other):
        await store.insert_key(each.key)
    digest = api_keys.digest_of_secret(made.secret)

    assert [made.key] == await store.find_keys([digest, "0" * 64])
    assert [other.key, made.key] == await store.list_keys()
    assert made.secret not in repr(await store.list_keys())
    assert [] == await store.find_keys([made.secret])


async def test_a_key_is_revoked_once_and_for_good(store: Store) -> None:
    """The first revocation counts, and an unknown key is told."""
    made = api_keys.new_key("laptop", now=2.0).key
    await store.insert_key(made)
    revoked = await store.revoke_key(made.key_id, 3.0, by="ops@here")

    assert replace(made, revoked_at=3.0, revoked_by="ops@here") == revoked
    assert revoked == await store.revoke_key(made.key_id, 4.0, by="eve@there")
    assert [revoked] == await store.find_keys([made.digest])
    with pytest.raises(errors.UnknownKey, match="keys list"):
        await store.revoke_key("nobody", 3.0)


async def test_the_last_use_of_a_key_never_goes_back(store: Store) -> None:
    """Of gateways that note the first use at once, one is told that it was the first."""
    made = api_keys.new_key("laptop", now=2.0).key
    await store.insert_key(made)
    told = await asyncio.gather(*(store.mark_key_used(made.digest, float(at)) for at in (5, 5, 5)))
    later = [await store.mark_key_used(made.digest, at) for at in (9.0, 7.0)]
    await store.revoke_key(made.key_id, 10.0)

    assert [False, False, True] == sorted(told)
    assert [False, False] == later
    assert [9.0] == [key.last_used_at for key in await store.find_keys([made.digest])]
    assert not await store.mark_key_used("0" * 64, 1.0)


async def test_an_accounts_versions_are_swapped_one_at_a_time(store: Store) -> None:
    """Of rivals from the same version one wins, the very first version included."""
    for version in range(3):
        known = await store.get_account("ann")
        assert version == known.version
        rivals = [accounts.charge(known, float(i), 1.0) for i in range(1, 11)]
        won = await asyncio.gather(*(store.swap_account(rival) for rival in rivals))
        assert 1 == sum(won)
        assert rivals[won.index(True)] == await store.get_account("ann")
    assert 0 == (await store.get_account("bob")).version


def rich(number: int) -> Factorization:
    """Return a factorization with everything in it that one can have."""
    part = Part(
        value=BigInt(number),
        certainty=Certainty.COMPOSITE,
        effort=Effort({"ecm B1=11000": 74}, next_sigma=2**40),
        gave_up={"whole": "a.b $c"},
    )
    return replace(factorizations.begin(number, 1.0), parts=(part,))


async def test_a_factorization_is_created_once(store: Store) -> None:
    """Who comes second gets what is there; all of it comes back as it was."""
    first = rich(BIG)
    race = [store.create_factorization(replace(first, created_at=float(i))) for i in range(10)]
    stored = await asyncio.gather(*race)

    assert 1 == len({each.created_at for each in stored})
    assert first.parts == stored[0].parts
    assert stored[0] == await store.get_factorization(BIG)
    assert await store.get_factorization(92) is None


async def test_versions_are_read_without_the_rest(store: Store) -> None:
    """In the order asked for, 0 for a number that is not there."""
    known = await store.create_factorization(factorizations.begin(BIG, 1.0))
    assert await store.swap_factorization(known.touched(2.0))
    await store.create_factorization(factorizations.begin(91, 1.0))
    many = range(1000, 4000)

    assert [0, 2, 1] == await store.list_versions([7, BIG, 91])
    assert [0] * len(many) == await store.list_versions([*many])
    assert [] == await store.list_versions([])


async def test_only_one_swap_of_a_version_wins(store: Store) -> None:
    """Twenty swaps race from the same version; the losers are told and change nothing."""
    known = await store.create_factorization(rich(91))
    rivals = [replace(known.touched(float(i)), issued=100 + i) for i in range(20)]
    won = await asyncio.gather(*(store.swap_factorization(rival) for rival in rivals))

    assert 1 == sum(won)
    assert rivals[won.index(True)] == await store.get_factorization(91)
    assert not await store.swap_factorization(replace(rivals[0], version=7))
    assert not await store.swap_factorization(rich(92).touched(1.0))


async def test_a_swap_does_not_bring_back_what_was_published(store: Store) -> None:
    """A unit in the outbox that the new version carries must still be there: else it is read again."""
    known = await store.create_factorization(rich(91))
    [published] = known.outbox
    stale = known.touched(2.0)
    assert (published,) == stale.carried
    await store.clear_outbox(91, [published])

    assert not await store.swap_factorization(stale)
    assert await store.swap_factorization(replace(stale, outbox=()))


async def test_a_swap_carries_what_is_not_published_yet(store: Store) -> None:
    """Whoever wrote it into the outbox is about to publish it, and nobody else is."""
    known = await store.create_factorization(rich(91))
    works = [entry.unit.work for entry in known.outstanding.values()]
    after = known.touched(2.0).with_issued(works, 2.0)

    assert await store.swap_factorization(after)
    assert after == await store.get_factorization(91)
    assert [after.outbox[1]] == [unit.unit_id for unit in after.units_in_outbox(left_before=0.5)]
    assert 2 == len(after.units_in_outbox(left_before=1.5))


async def test_a_value_that_breaks_the_rules_fails_only_its_own_caller(store: Store) -> None:
    """A unit in the outbox that is not outstanding is a bug; neighbours are written, later calls answered."""
    for number in (91, 95):
        await store.create_factorization(rich(number))
    broken = replace(rich(91).touched(2.0), outstanding={})
    failed, done = await asyncio.gather(
        store.swap_factorization(broken),
        store.swap_factorization(rich(95).touched(2.0)),
        return_exceptions=True,
    )

    assert isinstance(failed, KeyError)
    assert done is True
    assert rich(91) == await store.get_factorization(91)
    assert await store.swap_factorization(rich(91).touched(2.0))


async def test_clearing_an_outbox_keeps_the_version(store: Store) -> None:
    """What was published is taken out; what was not, and the units themselves, stay."""
    known = rich(91).with_issued([entry.unit.work for entry in rich(91).outstanding.values()], 1.0)
    await store.create_factorization(known)
    first, second = known.outbox
    await store.clear_outbox(91, [first, "unknown"])
    left = await store.get_factorization(91)

    assert replace(known, outbox=(second,)) == left
    assert [left] == await store.list_unpublished(touched_before=9.0, after=None, limit=9)
    await store.clear_outbox(91, [second])
    assert [] == await store.list_unpublished(touched_before=9.0, after=None, limit=9)
    await store.clear_outbox(12345, ["x"])


async def test_what_a_sweeper_looks_at_is_paged_by_key(store: Store) -> None:
    """Every active factorization that was not touched lately is seen once."""
    numbers = [*range(90, 100), 7, 1234]
    for number in numbers:
        await store.create_factorization(rich(number))
    known = await store.get_factorization(95)
    assert known is not None
    assert await store.swap_factorization(known.rested(1.0))
    fresh = await store.get_factorization(96)
    assert fresh is not None
    assert await store.swap_factorization(fresh.touched(50.0))
    seen: list[int] = []
    after: int | None = None
    while page := await store.list_active(touched_before=9.0, after=after, limit=3):
        seen += [int(each.number) for each in page]
        after = page[-1].number

    assert sorted(set(numbers) - {95, 96}, key=str) == seen


@pytest.mark.parametrize("listing", ["list_active", "list_unpublished"])
async def test_a_sweeper_may_ask_for_some_shards(store: Store, listing: str) -> None:
    """The shards have all numbers between them, each in one."""
    numbers = [*range(90, 120), BIG]
    for number in numbers:
        await store.create_factorization(rich(number))
    found = {
        shard: await getattr(store, listing)(
            touched_before=9.0, after=None, limit=99, shards=frozenset({shard})
        )
        for shard in ALL_SHARDS
    }
    some = await getattr(store, listing)(touched_before=9.0, after=96, limit=3, shards={1, 5, 7})

    assert sorted(numbers) == sorted(known.number for page in found.values() for known in page)
    assert all(shard_of(known.number) == shard for shard, page in found.items() for known in page)
    later = sorted(str(n) for n in numbers if shard_of(n) in {1, 5, 7} and str(n) > "96")
    assert later[:3] == [str(known.number) for known in some]


async def test_a_number_without_a_shard_is_in_the_first(mongo_store: MongoStore) -> None:
    """Earlier versions wrote no shard, and their workers may still run while new ones do."""
    known = await mongo_store.create_factorization(rich(91))
    stored = mongo_store._db.factorizations  # noqa: SLF001 only an earlier version could write it otherwise
    await stored.update_one({"_id": "91"}, {"$unset": {"shard": ""}})
    found = [
        await mongo_store.list_active(touched_before=9.0, after=None, limit=9, shards={shard})
        for shard in sorted(ALL_SHARDS)
    ]

    assert [[known]] + [[]] * (SHARDS - 1) == found
    assert [known] == await mongo_store.list_unpublished(touched_before=9.0, after=None, limit=9)


async def test_a_units_batch_counts_once(store: Store) -> None:
    """The first batch of a unit stays, in any number, and all are read in order."""
    for index in range(40):
        await store.insert_batch(91, f"u-{index:03}", bytes([index]) * 100)
    await store.insert_batch(91, "u-007", b"second")
    await store.insert_batch(92, "u-000", b"other")
    read = [pair async for pair in store.iterate_batches(91)]

    assert [(f"u-{index:03}", bytes([index]) * 100) for index in range(40)] == read
    await store.delete_batches(91)
    assert [] == [pair async for pair in store.iterate_batches(91)]
    assert [("u-000", b"other")] == [pair async for pair in store.iterate_batches(92)]


async def test_workers_are_known_while_they_are_heard_of(store: Store) -> None:
    """The latest word counts; silence and goodbyes end it."""
    keeping = replace(worker("a", 4.0), cluster=Cluster(slots=4, workers=2, servers=("a", "b")))
    await store.heartbeat(keeping)
    assert keeping == await store.get_worker("a")
    for status in (worker("b", 1.0), worker("a", 5.0), worker("b", 6.0), worker("c", 7.0)):
        await store.heartbeat(status)
    await store.remove_worker("c")
    await store.remove_worker("nobody")

    assert [worker("a", 5.0), worker("b", 6.0)] == await store.list_workers(seen_after=2.0)
    assert [worker("b", 6.0)] == await store.list_workers(seen_after=5.0)
    assert worker("a", 5.0) == await store.get_worker("a")
    assert await store.get_worker("c") is None


async def test_a_store_answers_a_ping(store: Store) -> None:
    """It can be written to."""
    await store.ping()
