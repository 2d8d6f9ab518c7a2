"""Looking around from inside a child process: what it sees, and what it may do."""

import functools
import json
import os
import socket
from collections.abc import Callable
from typing import Any, cast

import pytest

from common.domain import BigInt, Survey
from factor_worker.slots import child, compute, forkserver
from factor_worker.slots.errors import UnitFailed
from factor_worker.slots.slot import Slot
from tests.worker.children import GENEROUS

_SEEN = "Seen: "
Probe = Callable[[], object]


class Seen(Exception):
    """Carries what a probe has seen, as JSON: a child can say it in no other way."""


def probe(*, early: bool = False) -> Callable[[Probe], Callable[..., None]]:
    """Make of a function what runs in the place of `child.serve`, for `look`.

    Args:
        early: Whether to call it as soon as the child is born: it looks at what was inherited. Otherwise
            it is called while a unit is computed: it may do what an engine may.

    """

    def decorate(function: Probe) -> Callable[..., None]:
        @functools.wraps(function)
        def serve(channel: socket.socket, *args: Any, **named: Any) -> None:
            seen = [function()] if early else []

            def perform(*_: object) -> object:
                raise Seen(json.dumps(seen[0] if early else function()))

            compute.perform = cast("Any", perform)
            child.serve(channel, *args, **named)

        return serve

    return decorate


async def look(monkeypatch: pytest.MonkeyPatch, through: Callable[..., None]) -> Any:
    """Return what a probe sees in a new child, which is like any other but for this."""
    with monkeypatch.context() as patch:
        patch.setattr(forkserver, "TARGET", f"{through.__module__}:{through.__qualname__}")
        slot = Slot(GENEROUS)
        with pytest.raises(UnitFailed, match=_SEEN) as caught:
            await slot.compute(Survey(BigInt(15)))
        await slot.close()
    told = caught.value.failure.detail.partition(_SEEN)[2]
    return json.loads(told)


def descriptors() -> list[int]:
    """Return the descriptors of this process that are open."""
    found = []
    for one in range(256):
        try:
            os.fstat(one)
        except OSError:
            continue
        found.append(one)
    return found


def refused(function: Callable[[], object]) -> str:
    """Return the name of the error that a call meets, or what it returned."""
    try:
        return f"returned {function()!r}"
    except OSError as error:
        return type(error).__name__
