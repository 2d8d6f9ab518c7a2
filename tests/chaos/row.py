"""A row of the laboratory: one fault, how it is made, and how it is measured."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from tests import waiting
from tests.chaos.laboratory import RECOVERY_SECONDS, REFUSAL_SECONDS, Laboratory, Pressure


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fault. ``inject`` returns when the fault is over, and fails if it did not happen."""

    name: str
    inject: Callable[[Laboratory], Awaitable[None]]
    short: bool
    """Whether `make test` runs it."""
    traffic: float
    """Numbers a second that clients ask for while the fault lasts."""
    recovery_seconds: float
    """The longest recovery that is borne."""
    soak: bool
    """Whether a random soak may draw it."""
    attack: bool
    """Whether clients do it, so that the row says how `Laboratory.under_attack` found a gateway."""
    not_here: str
    """Why the documentation has no figure of it, if it has none."""


class Measured(NamedTuple):
    """What a row came to. Seconds."""

    fault_seconds: float
    recovery_seconds: float
    accepted: int
    recovered: int
    pressure: Pressure | None = None
    """How the attack was felt, if the fault was one."""

    def __str__(self) -> str:
        """Return it in a line."""
        felt = f", {self.pressure}" if self.pressure else ""
        return (
            f"fault {self.fault_seconds:.1f} s, recovery {self.recovery_seconds:.1f} s, "
            f"{self.accepted} accepted, {self.recovered} recovered{felt}"
        )


ROWS: dict[str, Row] = {}


def row(  # noqa: PLR0913 all but the name by keyword
    name: str,
    *,
    short: bool = False,
    traffic: float = 5.0,
    recovery_seconds: float = RECOVERY_SECONDS,
    soak: bool = True,
    attack: bool = False,
    not_here: str = "not measured yet: its command is written, the time was not there",
) -> Callable[[Callable[[Laboratory], Awaitable[None]]], Callable[[Laboratory], Awaitable[None]]]:
    """Enter a function into the table of rows."""

    def enter(
        inject: Callable[[Laboratory], Awaitable[None]],
    ) -> Callable[[Laboratory], Awaitable[None]]:
        ROWS[name] = Row(
            name=name,
            inject=inject,
            short=short,
            traffic=traffic,
            recovery_seconds=recovery_seconds,
            soak=soak,
            attack=attack,
            not_here=not_here,
        )
        return inject

    return enter


async def run(lab: Laboratory, row: Row, *, timed: bool = True) -> Measured:
    """Make one fault, measure the recovery, and check every invariant.

    Args:
        lab: Where.
        row: Which fault.
        timed: Whether times are held to their limits. `make test` does not: it shares its machine.

    Raises:
        AssertionError: The fault did not happen, or an invariant does not hold.

    """
    lab.slowest_refusal, lab.refusals = 0.0, 0
    began = time.monotonic()
    if row.traffic:
        async with lab.traffic(row.traffic):
            await waiting.until(lambda: bool(lab.follower.done), "traffic", seconds=20)
            began = time.monotonic()
            await row.inject(lab)
            lifted = time.monotonic()
    else:
        await row.inject(lab)
        lifted = time.monotonic()
    await lab.recovered()
    recovery = time.monotonic() - lifted
    await lab.restore()
    await lab.at_rest()
    verdict = await lab.verdict()
    assert not verdict.faults, f"{row.name}: {verdict.faults}"
    assert verdict.accepted, "nobody was accepted: the row proves nothing"
    await lab.back_to_base()
    if timed:
        slowest = lab.slowest_refusal
        assert slowest <= REFUSAL_SECONDS, f"{row.name}: a 503 took {slowest:.1f} s"
        assert recovery <= row.recovery_seconds, f"{row.name}: recovery took {recovery:.1f} s"
        if row.attack:
            assert lab.pressure is not None, "nobody looked at the gateway"
            lab.pressure.check()
    return Measured(lifted - began, recovery, verdict.accepted, verdict.recovered, lab.pressure)
