"""Numbers that share composites, worked on in any order while anything that can go wrong does."""

import math
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from common.domain import Failure, Fault, Status
from tests.unit.cluster import LARGE_PRIMES, Cluster, primes_in, primes_of

FAMILY = st.tuples(
    st.integers(1, 6),
    st.lists(st.sampled_from(LARGE_PRIMES[:5]), min_size=1, max_size=4, unique=True),
    st.sampled_from([1, 1, 2]),
).map(lambda made: made[0] * math.prod(made[1]) ** made[2])
"""Numbers that are likely to have composites in common."""
LUCK = st.randoms(use_true_random=False)
TROUBLE = st.sampled_from([0.0, 0.1, 0.5])
"""How probable it is that a message is lost or doubled, or that a worker dies, at each place where it can."""


class Families(RuleBasedStateMachine):
    """A cluster of which everything is asked in any order. At the end, everybody has an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(random.Random(0))
        self.wanted: set[int] = set()
        """Those that were submitted and not cancelled since."""
        self.failed = False
        """Whether a unit has failed: then a number may end without an answer."""

    @rule(number=FAMILY)
    def submit(self, number: int) -> None:
        """Ask for a number, whether it is known or not."""
        self.cluster.submit(number)
        self.wanted.add(number)

    @precondition(lambda self: self.cluster.tasks)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """End the tasks of a number, which others may be waiting for."""
        number = data.draw(st.sampled_from(sorted(self.cluster.tasks)))
        self.cluster.cancel(number)
        self.wanted.discard(number)

    @precondition(lambda self: self.cluster.queue)
    @rule(luck=LUCK, trouble=TROUBLE, units=st.integers(1, 20))
    def compute(self, luck: random.Random, trouble: float, units: int) -> None:
        """Compute some units, in any order; messages are lost and doubled, and workers die."""
        self.cluster.luck, self.cluster.trouble = luck, trouble
        for _ in range(units):
            self.cluster.step()
        self.cluster.trouble = 0.0

    @precondition(lambda self: self.cluster.queue)
    @rule(luck=LUCK, trouble=TROUBLE, data=st.data())
    def settle_together(self, luck: random.Random, trouble: float, data: st.DataObject) -> None:
        """Settle all outcomes of a number in one swap."""
        number = data.draw(st.sampled_from(self.cluster.queue)).number
        self.cluster.luck, self.cluster.trouble = luck, trouble
        self.cluster.settle_together(number)
        self.cluster.trouble = 0.0

    @precondition(lambda self: self.cluster.queue)
    @rule(fault=st.sampled_from(Fault), data=st.data())
    def fail(self, fault: Fault, data: st.DataObject) -> None:
        """Have a unit fail; it is tried again until its budget is used up."""
        unit = data.draw(st.sampled_from(self.cluster.queue))
        self.cluster.settle(unit, Failure(fault, "on purpose"))
        self.failed = True

    @rule()
    def lose_all_messages(self) -> None:
        """As when somebody purges the queues."""
        self.cluster.queue.clear()

    @rule()
    def sweep(self) -> None:
        """Look for what was cut off, although nothing may have been."""
        self.cluster.sweep()

    @invariant()
    def nothing_is_torn(self) -> None:
        """Every number is the product of its coprime parts, and something is done until it ends."""
        for known in self.cluster.known.values():
            known.check()
            values = [part.value for part in known.parts]
            assert math.lcm(*values) == math.prod(values)
            assert known.active == bool(known.outstanding or known.waits_for)
            assert known.outstanding.keys() >= {*known.outbox}
            units = [entry.unit for entry in known.outstanding.values()]
            assert all(unit.number == unit.work.target == known.number for unit in units)

    @invariant()
    def whatever_is_asked_for_is_worked_on(self) -> None:
        """Nobody rests a number that somebody else wants."""
        for number in self.cluster.tasks:
            assert self.cluster.known[number].active or self.cluster.known[number].ended

    def teardown(self) -> None:
        """Let the work end: everybody has the right answer, and nothing is outstanding anywhere."""
        self.cluster.run()
        for known in self.cluster.known.values():
            assert not known.active
            assert not known.outstanding
            assert not known.outbox
        for number in self.wanted:
            known = self.cluster.known[number]
            assert known.ended is not None
            assert self.failed or known.ended.status is Status.SUCCEEDED
            if known.complete:
                expected = [(piece.value, piece.exponent) for piece in primes_in(number)]
                assert expected == primes_of(known)


TestFamilies = Families.TestCase
TestFamilies.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
