"""The protocol object: frames and tasks go in, frames come out."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.domain import factorizations
from common.lifecycle import new_task
from gateway.access import Quota
from gateway.views import problems, representation
from gateway.views.models import TaskView
from gateway.websocket.messages import Authenticate
from gateway.websocket.protocol import JUNK_LIMIT, WAITING_LIMIT, Asked, Protocol

TASK = new_task(91, "91", "anonymous", at=1.7e9)
VIEW = representation.view(TASK, factorizations.begin(91, 0.0))


def view(version: int, *, done: bool = False) -> TaskView:
    """Return a state of the task."""
    return msgspec.structs.replace(VIEW, version=version, done=done)


def frames(protocol: Protocol) -> list[dict[str, Any]]:
    """Take everything that waits to be sent."""
    taken = []
    while (frame := protocol.next_frame()) is not None:
        taken.append(json.loads(frame))
    return taken


def subscribed(limit: int = 10) -> Protocol:
    """Return a protocol that follows the task and has sent its hello."""
    protocol = Protocol(limit, Quota(limit))
    protocol.receive(json.dumps({"type": "subscribe", "task_ids": [TASK.task_id], "id": 7}))
    frames(protocol)
    return protocol


def test_hello_comes_first_and_names_the_limits() -> None:
    """A client learns its limits before it subscribes."""
    [hello] = frames(Protocol(10, Quota(10)))

    assert ("hello", 10) == (hello["type"], hello["limits"]["subscriptions"])


@given(versions=st.lists(st.integers(1, 9)), reads=st.lists(st.booleans(), min_size=9, max_size=9))
def test_one_snapshot_then_rising_updates_then_one_done(
    versions: list[int], reads: list[bool]
) -> None:
    """However events are ordered, doubled and coalesced, a subscriber sees one story."""
    protocol = subscribed()
    sent = []
    for version, reads_now in zip(versions, reads, strict=False):
        protocol.show(view(version))
        sent += frames(protocol) if reads_now else []
    for _ in range(2):
        protocol.show(view(10, done=True))
    protocol.show(view(11))
    sent += frames(protocol)

    kinds = [frame["type"] for frame in sent]
    assert ["snapshot", "done"] == [kinds[0], kinds[-1]]
    assert kinds.count("snapshot") == kinds.count("done") == 1
    seen = [frame["task"]["version"] for frame in sent[:-1]]
    assert seen == sorted(set(seen))
    assert sent[0]["id"] == 7


def test_updates_that_wait_coalesce() -> None:
    """A slow reader gets the newest state, not all of them."""
    protocol = subscribed()
    for version in range(1, 500):
        protocol.show(view(version))

    assert [1, 499] == [frame["task"]["version"] for frame in frames(protocol)]
    assert not protocol.crowded


def test_junk_gets_an_error_up_to_a_limit() -> None:
    """Invalid frames are answered with errors, and counted."""
    protocol = Protocol(10, Quota(10))
    junk: list[str | bytes] = ["", "[", '{"type": "dance"}', "[" * 9_000, b"\x00"]
    for frame in junk * (JUNK_LIMIT // len(junk)):
        protocol.receive(frame)

    assert not protocol.too_much_junk
    assert {"hello", "error"} == {frame["type"] for frame in frames(protocol)}
    protocol.receive("x")
    assert protocol.too_much_junk


def test_before_a_key_every_frame_counts() -> None:
    """A stranger gets a few answers, whatever it asks for; with the key the count begins anew."""
    protocol = Protocol(10, None)
    for _ in range(JUNK_LIMIT - 1):
        protocol.receive('{"type": "ping"}')
    protocol.receive_control()
    counted = [protocol.too_much_junk]
    protocol.receive('{"type": "ping"}')
    counted += [protocol.too_much_junk]
    protocol.authenticate(Quota(10), Authenticate(key="k"))
    protocol.receive('{"type": "ping"}')

    assert [False, True, False] == [*counted, protocol.too_much_junk]


def test_while_many_frames_wait_nothing_more_is_to_be_read() -> None:
    """Answers, errors and endings all count."""
    protocol = Protocol(10, Quota(10))
    for _ in range(WAITING_LIMIT - 1):  # and the hello
        protocol.receive('{"type": "ping"}')
    crowded = [protocol.crowded]
    protocol.next_frame()

    assert [True, False] == [*crowded, protocol.crowded]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "ping", "id": 65 * "x"},
        {"type": "ping", "id": 2**63},
        {"type": "ping", "id": -(2**63) - 1},
        {"type": "subscribe", "task_ids": [65 * "x"]},
    ],
)
def test_what_is_sent_back_is_short(message: dict[str, Any]) -> None:
    """Ids of 64 characters come back; longer ones are refused, and the error does not repeat them."""
    protocol = Protocol(10, Quota(10))
    protocol.receive(json.dumps({"type": "ping", "id": 64 * "x"}))
    assert 64 * "x" == frames(protocol)[-1]["id"]
    protocol.receive(json.dumps(message))
    [refused] = frames(protocol)

    assert ("error", 400) == (refused["type"], refused["problem"]["status"])
    assert len(json.dumps(refused)) < 1000


def test_a_subscription_of_before_is_not_the_one_of_now() -> None:
    """What is found out for a subscription that was given up does not concern the next one."""
    protocol = Protocol(10, Quota(10))
    subscribe = json.dumps({"type": "subscribe", "task_ids": [TASK.task_id]})
    [old] = protocol.receive(subscribe).watch
    protocol.receive(json.dumps({"type": "unsubscribe", "task_ids": [TASK.task_id]}))
    [new] = protocol.receive(subscribe).watch
    protocol.fail(old, problems.of_kind(problems.INTERNAL_ERROR, ""))

    assert not protocol.follows(old)
    assert protocol.follows(new)
    assert ["hello"] == [frame["type"] for frame in frames(protocol)]


def test_errors_are_the_problems_that_http_has() -> None:
    """Type, title and status of a refused frame come from the same table."""
    protocol = Protocol(10, None)
    protocol.receive("junk")
    protocol.receive('{"type": "subscribe", "task_ids": ["a"]}')
    shown = [frame["problem"] for frame in frames(protocol) if frame["type"] == "error"]

    assert ["bad-request", "unauthenticated"] == [each["type"].split("/")[-1] for each in shown]
    for each in shown:
        kind = problems.KINDS[each["type"].removeprefix("/problems/")]
        assert (kind.title, kind.status) == (each["title"], each["status"])


def test_ping_is_answered_with_its_id() -> None:
    """The id of a ping comes back on its pong."""
    protocol = Protocol(10, Quota(10))
    protocol.receive('{"type": "ping", "id": "a"}')

    assert {"type": "pong", "id": "a"} == frames(protocol)[-1]


def test_too_many_subscriptions_are_refused_and_old_ones_stay() -> None:
    """The error names the limit; tasks that were followed before are still followed."""
    protocol = subscribed(limit=1)
    assert Asked([], []) == protocol.receive('{"type": "subscribe", "task_ids": ["a", "b"]}')

    assert "error" == frames(protocol)[-1]["type"]
    assert protocol.show(view(1))


def test_nothing_is_sent_about_an_unsubscribed_task() -> None:
    """Nothing is sent about a task after its unsubscribe."""
    protocol = subscribed()
    message = {"type": "unsubscribe", "task_ids": [TASK.task_id]}
    asked = protocol.receive(json.dumps(message))
    assert [TASK.task_id] == [each.task_id for each in asked.unwatch]

    assert not protocol.show(view(3))
    assert [] == frames(protocol)
