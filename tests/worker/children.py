"""What the tests of slots have in common: how to look at a child process, and work that keeps it busy."""

import asyncio
import sys

import psutil
import pytest

from common.domain import BigInt
from factor_worker.slots.child import ChildLimits
from factor_worker.slots.slot import Slot

GENEROUS = ChildLimits(600, 2048 << 20)
"""Limits that no test reaches."""
HARD = BigInt(2934721143920810936805613480763073834220291833356430512568092958244091)
"""Seventy digits: half a minute in one call."""

linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="linux: children are forked nowhere else"
)


def child_of(slot: Slot) -> psutil.Process:
    """Return the slot's process."""
    assert slot._child is not None  # noqa: SLF001 no slot shows its child
    return psutil.Process(slot._child.pid)  # noqa: SLF001 as above


async def until_busy(slot: Slot) -> None:
    """Return when the child has begun to compute."""
    before = sum(child_of(slot).cpu_times()[:2])
    async with asyncio.timeout(10):
        while sum(child_of(slot).cpu_times()[:2]) - before < 0.05:
            await asyncio.sleep(0.01)
