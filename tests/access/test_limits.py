"""What a key may use, over two gateways at once."""

import asyncio
import time
from collections import Counter

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from common import errors
from common.broker.memory import MemoryBroker
from common.domain import Account, Ending, KeyLimits, NewKey, Status, accounts, new_key
from common.domain.accounts import LEASE_SECONDS
from common.lifecycle import new_task
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from factor_worker.metering import Meter
from gateway import metrics
from gateway.access import Identity, Limiter
from gateway.app import create_app
from gateway.views import problems
from tests import waiting
from tests.access.conftest import Client, MakeKey, bearer


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 100),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_what_is_granted_stays_within_rate_and_burst(
    rate: float, burst: int, pauses: list[float]
) -> None:
    """However draws are spread over time, they are granted no more than the burst and what has leaked."""
    limits = KeyLimits(requests_per_second=rate, burst=burst)
    account, now, granted = Account(owner="ann"), 1000.0, 0
    for pause in pauses:
        now += pause
        drawn = accounts.draw(account, limits, now)
        assert (drawn.granted == 0) == (drawn.account is account)
        account, granted = drawn.account, granted + drawn.granted

    assert granted <= burst + rate * (now - 1000.0) + 1e-6


@pytest.mark.parametrize("skew", [0.5, 3600.0])
@given(
    rate=st.floats(0.1, 100),
    burst=st.integers(1, 100),
    draws=st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60),
)
def test_a_clock_that_is_ahead_multiplies_no_limit(
    skew: float, rate: float, burst: int, draws: list[tuple[float, bool]]
) -> None:
    """Whichever of two gateways is asked, the bucket leaks once, but for the difference of the clocks."""
    limits = KeyLimits(requests_per_second=rate, burst=burst)
    account, now, granted = Account(owner="ann"), 1000.0, 0
    for pause, ahead in draws:
        now += pause
        drawn = accounts.draw(account, limits, now + skew * ahead)
        assert drawn.account.at >= account.at
        account, granted = drawn.account, granted + drawn.granted

    assert granted <= burst + min(burst, rate * skew) + rate * (now - 1000.0) + 1e-6


async def test_a_slow_key_does_not_hold_up_a_fast_one_of_the_same_owner(
    client: Client, store: SqliteStore
) -> None:
    """The slow key is at its limit for twenty seconds, and the fast one is served meanwhile."""
    slow, fast = (
        new_key(name, owner="ann", limits=KeyLimits(requests_per_second=rate), now=1.0)
        for name, rate in (("slow", 0.05), ("fast", 100.0))
    )
    for made in (slow, fast):
        await store.insert_key(made.key)
    statuses = [
        (await client.get("/tasks", headers=bearer(made))).status
        for made in (fast, slow, fast, fast, slow, fast)
    ]

    assert [200, 429, 200, 200, 429, 200] == statuses


async def test_requests_a_second_hold_over_two_gateways(
    gateways: list[Client], make_key: MakeKey
) -> None:
    """Under load on both, what is accepted fits the policy, and every answer says what is left."""
    rate, burst = 20.0, 10
    ann = await make_key("ann", requests_per_second=rate, burst=burst)
    statuses: Counter[int] = Counter()
    started = time.monotonic()

    async def hammer(gateway: Client) -> None:
        while time.monotonic() < started + 1.0:
            response = await gateway.get("/tasks", headers=bearer(ann))
            statuses[response.status] += 1
            assert f'"requests";q={burst};w=1' == response.headers["RateLimit-Policy"]
            assert response.headers["RateLimit"].startswith('"requests";r=')
            if response.status == 429:
                assert 1 <= int(response.headers["Retry-After"]) <= 2
                assert "/problems/too-many-requests" == (await response.json())["type"]

    await asyncio.gather(*(hammer(gateway) for gateway in gateways for _ in range(2)))
    elapsed = time.monotonic() - started
    slack = 2 * rate * LEASE_SECONDS  # what two gateways may have drawn in advance

    assert statuses[200] <= burst + rate * elapsed + slack
    assert statuses[200] >= burst
    assert statuses[429] > 0
    assert {200, 429} == set(statuses)


async def test_a_batch_counts_as_the_requests_that_it_saves(
    client: Client, make_key: MakeKey
) -> None:
    """It is accepted whatever its size; what comes next waits until it is paid for."""
    made = await make_key("ann", requests_per_second=0.01, burst=3)
    numbers = [str(number) for number in range(250)]
    batch = await client.post("/tasks/batch", json={"numbers": numbers}, headers=bearer(made))
    assert 200 == batch.status
    refused = await client.get("/tasks", headers=bearer(made))

    assert 429 == refused.status
    assert 1 <= int(refused.headers["Retry-After"]) <= 100
    assert '"requests";r=0' in refused.headers["RateLimit"]


@pytest.mark.usefixtures("every_number_queued")
async def test_waits_of_a_key_are_counted(store: SqliteStore, broker: MemoryBroker) -> None:
    """One too many is answered at once and told when to ask again; another key waits beside it."""
    keys = [new_key(name, owner="ann", limits=KeyLimits(), now=1.0) for name in "ab"]
    for made in keys:
        await store.insert_key(made.key)
    app = create_app(Settings(keys=True, max_key_waits=2), store=store, broker=broker)
    async with TestClient[web.Request, web.Application](TestServer(app)) as client:
        first = await client.post("/factor", json={"number": 91}, headers=bearer(keys[0]))
        url = (await first.json())["links"]["self"]

        async def poll(made: NewKey, seconds: int) -> ClientResponse:
            return await client.get(url, params={"wait": seconds}, headers=bearer(made))

        waits = [asyncio.create_task(poll(keys[0], 30)) for _ in range(2)]
        await waiting.until(lambda: metrics.WAITS._value.get() == 2, "two long polls")  # noqa: SLF001 no other way
        early = await poll(keys[0], 30)
        prefers = {**bearer(keys[0]), "Prefer": "wait=30"}
        posted = await client.post("/factor", json={"number": 77}, headers=prefers)
        other = asyncio.create_task(poll(keys[1], 30))
        await waiting.until(lambda: metrics.WAITS._value.get() == 3, "the third one")  # noqa: SLF001
        ended = await client.delete(url, headers=bearer(keys[0]))
        told = [await (await wait).json() for wait in (*waits, other)]

    assert (200, "1") == (early.status, early.headers["Retry-After"])
    assert 202 == posted.status
    assert "Preference-Applied" not in posted.headers
    assert 200 == ended.status
    assert ["cancelled"] * 3 == [task["status"] for task in told]
    assert 0 == metrics.WAITS._value.get()  # noqa: SLF001


async def test_a_debt_is_paid_before_the_next_request(store: SqliteStore) -> None:
    """The longer the more was owed: the key waits as if it had made that many requests."""
    made = new_key("ann", limits=KeyLimits(requests_per_second=1.0, burst=5), now=1.0)
    limiter, identity = Limiter(store), Identity("ann", made.key)
    await limiter.request(identity)
    limiter.charge(identity, 10)
    with pytest.raises(problems.TooManyRequests) as refused:
        await limiter.request(identity)

    assert 6 <= int(refused.value.headers["Retry-After"]) <= 7


async def test_one_owners_requests_are_not_anothers(client: Client, make_key: MakeKey) -> None:
    """One owner is at its limit; another one, whose key has no limits, is served without RateLimit fields."""
    ann, bob = await make_key("ann", requests_per_second=0.01), await make_key("bob")
    first = [(await client.get("/tasks", headers=bearer(ann))).status for _ in range(2)]
    free = await client.get("/tasks", headers=bearer(bob))

    assert [200, 429] == first
    assert 200 == free.status
    assert "RateLimit" not in free.headers


@pytest.mark.usefixtures("every_number_queued")
async def test_tasks_in_progress_hold_over_two_gateways(
    gateways: list[Client], make_key: MakeKey, store: SqliteStore
) -> None:
    """Of forty at once exactly five are accepted; one that ends makes room for one."""
    ann = await make_key("ann", tasks=5)

    async def post(number: int) -> int:
        gateway = gateways[number % 2]
        response = await gateway.post("/factor", json={"number": number}, headers=bearer(ann))
        if response.status == 429:
            assert "/problems/too-many-tasks" == (await response.json())["type"]
            assert int(response.headers["Retry-After"]) > 0
            assert '"tasks";r=' in response.headers["RateLimit"]
        return response.status

    statuses = Counter(await asyncio.gather(*(post(number) for number in range(100, 140))))
    assert {202: 5, 429: 35} == statuses
    assert 5 == await store.count_live("ann", limit=99)
    [task, *_] = await store.list_tasks("ann", before=None, limit=9)
    await store.end_task(task.task_id, Ending(status=Status.CANCELLED, at=1.0))
    assert [202, 429] == [await post(141), await post(142)]


@pytest.mark.usefixtures("every_number_queued")
async def test_a_batch_is_taken_whole_or_not_at_all(client: Client, make_key: MakeKey) -> None:
    """A batch counts as many tasks as need work; numbers that are answered at once count nothing."""
    ann = await make_key("ann", tasks=3)
    statuses = []
    for numbers in ([91, 92], [93, 94], [93, 1, 0], [0, 1]):
        response = await client.post("/tasks/batch", json={"numbers": numbers}, headers=bearer(ann))
        statuses.append(response.status)

    assert [200, 429, 200, 200] == statuses


@pytest.mark.usefixtures("every_number_queued")
async def test_a_request_is_repeated_at_the_limit_that_it_has_filled(
    client: Client, make_key: MakeKey
) -> None:
    """Repeated with the same Idempotency-Key it gives the same tasks, and with another one 429."""
    ann = await make_key("ann", tasks=3)

    async def ask(path: str, body: object, key: str) -> tuple[int, object]:
        headers = {**bearer(ann), "Idempotency-Key": key}
        response = await client.post(path, json=body, headers=headers)
        shown = await response.json()
        items = shown.get("items", [{"task": shown}])
        return response.status, [item["task"].get("task_id") for item in items]

    one, many = ("/factor", {"number": 91}), ("/tasks/batch", {"numbers": [92, 93]})
    first = [await ask(*one, "a"), await ask(*many, "b")]
    assert [202, 200] == [status for status, _ in first]

    assert first == [await ask(*one, "a"), await ask(*many, "b")]
    assert 429 == (await ask(*one, "c"))[0]
    longer = {"numbers": [92, 93, 94]}  # another request, however full its owner is
    assert 422 == (await ask("/tasks/batch", longer, "b"))[0]


async def test_a_refused_request_leaves_its_room_to_the_next_one(
    client: Client, make_key: MakeKey
) -> None:
    """A reused Idempotency-Key proves that nothing is on its way into the store."""
    ann = await make_key("ann", tasks=2)

    async def post(number: int, key: str) -> int:
        headers = {**bearer(ann), "Idempotency-Key": key}
        body = {"number": 10**30 + number}  # too large to be answered at once
        return (await client.post("/factor", json=body, headers=headers)).status

    statuses = [await post(91, "a"), await post(92, "a"), await post(93, "b"), await post(94, "c")]
    assert [202, 422, 202, 429] == statuses


async def test_room_lapses_while_nobody_knows_whether_it_is_taken(store: SqliteStore) -> None:
    """The store may have inserted the tasks of a call that it did not answer."""
    limits = KeyLimits(tasks=2)
    identity = Identity("ann", new_key("ann", limits=limits, now=1.0).key)
    limiter = Limiter(store)
    for error in (errors.StoreUnavailable("a test"), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            async with limiter.submission(identity, 1, until=None):
                raise error

    assert 2 == (await store.get_account("ann")).reserved(time.time())
    with pytest.raises(problems.TooManyTasks):
        async with limiter.submission(identity, 1, until=None):
            pass


async def test_cpu_seconds_of_a_day_are_charged_to_owners_and_end_submissions(
    gateways: list[Client], make_key: MakeKey, store: SqliteStore
) -> None:
    """Two owners of a number pay half each. Who has used up its share can still read."""
    ann, bob = await make_key("ann", cpu_seconds_a_day=10), await make_key("bob")
    for key in (ann, bob):
        response = await gateways[0].post("/factor", json={"number": 91}, headers=bearer(key))
        assert 202 == response.status
    meter = Meter(store)
    for _ in range(3):
        meter.add(91, 8.0)
    meter.add(93, 100.0)  # nobody's
    await meter.charge()
    await meter.charge()
    now = time.time()
    used = [(await store.get_account(owner)).cpu_today(now) for owner in ("ann", "bob")]
    assert [12.0, 12.0] == used

    refused = await gateways[1].post("/factor", json={"number": 95}, headers=bearer(ann))
    assert 429 == refused.status
    assert "/problems/cpu-used-up" == (await refused.json())["type"]
    assert 0 < int(refused.headers["Retry-After"]) <= 86_400
    assert 200 == (await gateways[1].get("/tasks", headers=bearer(ann))).status
    taken = await gateways[1].post("/factor", json={"number": 95}, headers=bearer(bob))
    assert 202 == taken.status


@pytest.mark.usefixtures("every_number_queued")
async def test_a_task_that_has_just_ended_pays_for_what_ended_it(store: SqliteStore) -> None:
    """The owner of a task that ended a moment ago is charged, of one that ended long ago not."""
    now = time.time()
    for owner, ended_at in (("ann", now), ("bob", now - 60)):
        [task] = await store.insert_tasks([new_task(91, "91", owner, at=store.now())])
        await store.end_task(task.task_id, Ending(status=Status.SUCCEEDED, at=ended_at))
    meter = Meter(store)
    meter.add(91, 8.0)
    await meter.charge()

    assert 8.0 == (await store.get_account("ann")).cpu_today(now)
    assert 0.0 == (await store.get_account("bob")).cpu_today(now)


async def test_what_is_spent_while_a_charge_is_made_is_charged_next(store: SqliteStore) -> None:
    """Units may end while the store is being asked for the owners of earlier ones."""
    await store.insert_tasks([new_task(n, str(n), "ann", at=store.now()) for n in (91, 93)])
    meter = Meter(store)
    meter.add(91, 8.0)
    charging = asyncio.create_task(meter.charge())
    await asyncio.sleep(0)
    meter.add(93, 2.0)
    await charging
    await meter.charge()

    assert 10.0 == (await store.get_account("ann")).cpu_today(time.time())


async def test_a_charge_that_loses_to_another_worker_waits_for_the_next_one(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of workers that all tried again at once would lose to each other for ever."""
    await store.insert_tasks([new_task(91, "91", "ann", at=store.now())])
    meters = [Meter(store) for _ in range(20)]
    tried: list[bool] = []
    swap, all_have_read = store.swap_account, asyncio.Barrier(len(meters))

    async def swap_together(new: Account) -> bool:
        await all_have_read.wait()
        tried.append(await swap(new))
        return tried[-1]

    with monkeypatch.context() as patch:
        patch.setattr(store, "swap_account", swap_together)
        for meter in meters:
            meter.add(91, 8.0)
        await asyncio.gather(*(meter.charge() for meter in meters))
    assert (20, 1) == (len(tried), tried.count(True))
    for meter in meters:
        await meter.drain()

    assert 160.0 == (await store.get_account("ann")).cpu_today(store.now())


async def test_a_worker_that_stops_charges_what_others_were_faster_with(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tries some times, and gives up if others are always faster."""
    await store.insert_tasks([new_task(91, "91", "ann", at=store.now())])
    swap = store.swap_account
    answers = iter([False, False])

    async def lose_twice(new: Account) -> bool:
        return next(answers, True) and await swap(new)

    monkeypatch.setattr(store, "swap_account", lose_twice)
    meter = Meter(store)
    meter.add(91, 8.0)
    await meter.drain()

    assert 8.0 == (await store.get_account("ann")).cpu_today(store.now())


def test_a_new_day_begins_at_nothing() -> None:
    """What was used yesterday does not count today."""
    account = accounts.charge(Account(owner="ann"), 5.0, 86_399.0)

    assert 5.0 == account.cpu_today(86_399.9)
    assert 0.0 == account.cpu_today(86_400.0)
    assert 2.0 == accounts.charge(account, 2.0, 86_401.0).cpu_today(86_402.0)
    assert 1.0 == pytest.approx(accounts.seconds_to_tomorrow(86_399.0))


def test_a_clock_that_is_ahead_at_midnight_begins_the_day_once() -> None:
    """A worker whose clock is behind neither resets what was used nor charges the day before."""
    account = accounts.charge(Account(owner="ann"), 5.0, 86_399.0)
    for now in (86_401.0, 86_399.5, 86_402.0, 86_399.7, 86_403.0):
        account = accounts.charge(account, 2.0, now)

    assert 10.0 == account.cpu_today(86_399.9)
    assert 10.0 == account.cpu_today(86_404.0)


def test_a_ticket_that_was_never_given_back_lapses() -> None:
    """A gateway that dies while it inserts tasks does not keep their room reserved for ever."""
    account = accounts.reserve(Account(owner="ann"), "t", 5, 100.0)

    assert 5 == account.reserved(101.0)
    assert 0 == account.reserved(111.0)
    assert {"u"} == accounts.reserve(account, "u", 1, 111.0).tickets.keys()
    assert accounts.release(account, "u") is account
    assert 0 == accounts.release(account, "t").reserved(101.0)
