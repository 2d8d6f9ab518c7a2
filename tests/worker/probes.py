"""Looking around from inside a child process: what it sees, and what it may do."""

import functools
import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from common.domain import BigInt, Survey
from factor_worker.slots import compute, forkserver
from factor_worker.slots.errors import UnitFailed
from factor_worker.slots.slot import Slot
from tests.worker.children import GENEROUS

_SEEN = "Seen: "


class Seen(Exception):
    """Carries what a probe has seen, as JSON: a child can say it in no other way."""


async def look(monkeypatch: pytest.MonkeyPatch, probe: Callable[[], object]) -> Any:
    """Return what a function returns in a new child, which is like any other but for this function."""
    with monkeypatch.context() as patch:
        patch.setattr(forkserver, "run_child", functools.partial(_run, probe))
        slot = Slot(GENEROUS)
        with pytest.raises(UnitFailed, match=_SEEN) as caught:
            await slot.compute(Survey(BigInt(15)))
        await slot.close()
    return json.loads(caught.value.failure.detail.removeprefix(_SEEN))


def _run(probe: Callable[[], object], *args: object) -> None:
    def perform(*_: object) -> object:
        raise Seen(json.dumps(probe()))

    compute.perform = cast("Any", perform)
    forkserver.run_child(*args)
