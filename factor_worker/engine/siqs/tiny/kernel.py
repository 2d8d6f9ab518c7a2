"""The tiny sieve's kernel: from a factor base to enough relations, without coming up for air.

`tiny` says what for. Leading coefficients fit into a word, values divided by them into two, and the
interval into the first-level cache. Functions take tables and hand single arrays on to loops: a call
with a whole table costs more than a division.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit

from factor_worker.engine.siqs.polynomials.factor_base import FIRST_ODD, MINUS_ONE, TWO, FactorBase
from factor_worker.engine.siqs.sieve.interval import advance, scan, sieve_whole
from factor_worker.engine.siqs.solve.sparse import Rows
from factor_worker.engine.siqs.words import lanes
from factor_worker.engine.siqs.words.arithmetic import (
    ONE,
    TOP_BIT,
    ZERO,
    Limbs,
    Word,
    add_product,
    divide,
    high,
    is_negative,
    negate,
    reciprocal,
    subtract_product,
    trailing_zeros,
    word_inverse,
)
from factor_worker.engine.siqs.words.arrays import Bytes, Ids, Index
from factor_worker.engine.siqs.words.lanes import LANES

WORDS: Final = 3
"""Of kn; X itself has two."""
SPARE: Final = 12
"""Relations beyond the size of the base: so many dependencies at least, half of which split."""
ROOM: Final = 8
"""Relations for which there is room, for each row that is wanted: there are three or four."""
FACTORS: Final = 24
"""Factors of a relation for which there is room, on average: there are 17 or so."""
MOST_FACTORS: Final = 160
"""Factors of one relation: values have fewer bits."""
POOL: Final = 16
"""Primes around the ideal size that those of a are drawn from, all but the last."""
TRIES: Final = 200
"""Draws for an a that is new, before there is none left."""
MOST_A: Final = 4096
"""a's that are ever tried; ten are enough for 30 digits."""
WIDEST: Final = 2.0
"""How much larger or smaller than the best a an a may be."""
MULTIPLIER: Final = np.uint64(6364136223846793005)
INCREMENT: Final = np.uint64(1442695040888963407)
"""Of the random numbers (Knuth's MMIX); their upper half is used."""
HALF: Final = np.uint64(32)
SLOT_BITS: Final = 13
"""Logarithm of the slots for first relations with a large prime."""
SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
"""The golden ratio, which spreads large primes over the slots (Fibonacci hashing)."""


class Plan(NamedTuple):
    """How to sieve a number: single numbers."""

    size: int
    """Entries of the factor base."""
    reach: int
    """M: polynomials are sieved at -M ≤ x < M."""
    sieved: int
    """Index of the smallest prime that is sieved."""
    start: int
    """What sieve bytes start from, so that `HIT_BIT` appears when a position is worth a look."""
    enough: int
    """What a byte must come to once the smallest primes are counted, to be worth a division."""
    factors: int
    """Primes of a."""
    ideal: float
    """The best a."""
    large_bound: int
    """Largest large prime."""


class Polynomials(NamedTuple):
    """All polynomials of one a."""

    a: Limbs
    """uint64[3], like b and the parts."""
    b: Limbs
    parts: Limbs
    """uint64[s, 3]: B_l."""
    indices: Index
    """Of the primes of a."""
    first: Ids
    """Where each prime has its first hits, below the prime."""
    second: Ids
    deltas: Ids
    """uint32[s, size]: what roots move by when the sign of B_l changes."""
    logs: Bytes
    """Logarithms, 0 for the primes of a."""
    x: Limbs
    """uint64[3], room."""
    value: Limbs


class Found(NamedTuple):
    """Relations X² ≡ ∏ factors · large (mod n), and which of them have no large prime left over."""

    x: Limbs
    """uint64[m, 2]: |X|."""
    ends: Index
    """Where each relation's factors end."""
    factors: Ids
    """Indices into the base, with multiplicity, those of -1 and 2 among them."""
    large: Limbs
    """The large prime, or 1."""
    rows: Index
    """int64[m, 2]: a relation and -1, or two relations with the same large prime."""
    slots: Index
    """The first relation with each large prime, or -1, by a hash."""
    counts: Index
    """Relations, factors, rows."""


@njit(cache=True)
def collect(number: Limbs, base: FactorBase, plan: Plan) -> Found:
    """Sieve until there are `SPARE` more rows than columns, or no more a's."""
    wanted = plan.size + SPARE
    found = Found(
        np.empty((ROOM * wanted, 2), np.uint64),
        np.empty(ROOM * wanted, np.int64),
        np.empty(ROOM * wanted * FACTORS, np.uint32),
        np.empty(ROOM * wanted, np.uint64),
        np.empty((ROOM * wanted, 2), np.int64),
        np.full(1 << SLOT_BITS, -1, np.int64),
        np.zeros(3, np.int64),
    )
    chosen = Polynomials(
        np.zeros(WORDS, np.uint64),
        np.zeros(WORDS, np.uint64),
        np.zeros((plan.factors, WORDS), np.uint64),
        np.zeros(plan.factors, np.int64),
        np.zeros(plan.size, np.uint32),
        np.zeros(plan.size, np.uint32),
        np.zeros((plan.factors, plan.size), np.uint32),
        base.logs.copy(),
        np.zeros(WORDS, np.uint64),
        np.zeros(WORDS, np.uint64),
    )
    interval = np.empty(2 * plan.reach, np.uint8)
    positions = np.empty(2 * plan.reach, np.uint32)
    used = np.zeros(MOST_A, np.uint64)
    state = ONE
    for count in range(MOST_A):
        state = _choose(base, plan, chosen, used[: count + 1], state)
        if state == ZERO:
            break
        _begin(base, plan, chosen)
        for polynomial in range(1 << (plan.factors - 1)):
            if polynomial:
                _next(base, chosen, polynomial)
            listed = _sieve(base, plan, chosen, interval, positions)
            listed = _promising(base, plan, chosen, interval, positions[:listed])
            if not _examine(number, base, plan, chosen, positions[:listed], found):
                return found
            if found.counts[2] >= wanted:
                return found
    return found


@njit(cache=True)
def _choose(base: FactorBase, plan: Plan, chosen: Polynomials, used: Limbs, state: Word) -> Word:
    """Draw an a that is not in use yet; return the state of the random numbers, or 0 if there is none."""
    size = len(base.primes)
    root = plan.ideal ** (1.0 / plan.factors)
    centre = FIRST_ODD + 2
    while centre < size - 1 and base.primes[centre] < root:
        centre += 1
    low = max(FIRST_ODD + 1, min(centre - POOL // 2, size - POOL))
    for _ in range(TRIES):
        a, taken = ONE, np.int64(0)
        while taken < plan.factors - 1:
            state = state * MULTIPLIER + INCREMENT
            drawn = low + np.int64((state >> HALF) % np.uint64(POOL))
            if base.roots[drawn] and drawn not in chosen.indices[:taken]:
                chosen.indices[taken] = drawn
                a *= np.uint64(base.primes[drawn])
                taken += 1
        wanted = plan.ideal / np.float64(a)
        error = np.inf
        for index in range(FIRST_ODD, size):
            p = np.float64(base.primes[index])
            ratio = max(p / wanted, wanted / p)
            if ratio < error and base.roots[index] and index not in chosen.indices[:taken]:
                chosen.indices[taken], error = index, ratio
        a *= np.uint64(base.primes[chosen.indices[taken]])
        if error <= WIDEST and a not in used:
            used[-1] = a
            chosen.a[0] = a
            return state
    return ZERO


@njit(cache=True)
def _begin(base: FactorBase, plan: Plan, chosen: Polynomials) -> None:
    """Set everything to the first polynomial of an a."""
    a = chosen.a[0]
    chosen.b[:] = ZERO
    chosen.logs[:] = base.logs
    for place, index in enumerate(chosen.indices):
        q = np.uint64(base.primes[index])
        rest = a // q
        gamma = np.uint64(base.roots[index]) * reciprocal(rest % q, q) % q
        chosen.parts[place, 0] = min(gamma, q - gamma) * rest
        add_product(chosen.b, chosen.parts[place], ONE)
        chosen.logs[index] = 0
    shift = chosen.b[0] & ONE ^ ONE
    add_product(chosen.b, chosen.a, shift)
    for index in range(FIRST_ODD, plan.size):
        p = np.uint64(base.primes[index])
        inverse = reciprocal(a % p, p)
        middle = shift
        for place in range(plan.factors):
            delta = chosen.parts[place, 0] % p * inverse % p
            chosen.deltas[place, index] = np.uint32(delta)
            middle += delta
        middle %= p
        root = np.uint64(base.roots[index]) * inverse % p
        half, reach = (p + ONE) >> ONE, np.uint64(plan.reach)
        chosen.first[index] = np.uint32(((root + p - middle) * half + reach) % p)
        chosen.second[index] = np.uint32(((p - root + p - middle) * half + reach) % p)


@njit(cache=True)
def _next(base: FactorBase, chosen: Polynomials, number: int) -> None:
    """Go on to the next polynomial in the order of the Gray code, see `kernel.sieve`."""
    place = np.int64(trailing_zeros(np.uint64(number)))
    becomes_negative = bool((number ^ (number >> 1)) >> place & 1)
    if becomes_negative:
        subtract_product(chosen.b, chosen.parts[place], np.uint64(2))
    else:
        add_product(chosen.b, chosen.parts[place], np.uint64(2))
    advance(chosen.first, chosen.deltas[place], base.primes, becomes_negative)
    advance(chosen.second, chosen.deltas[place], base.primes, becomes_negative)


@njit(cache=True)
def _sieve(
    base: FactorBase, plan: Plan, chosen: Polynomials, interval: Bytes, positions: Ids
) -> int:
    """Sieve; return how many positions worth a look were listed."""
    interval[:] = np.uint8(plan.start)
    low = plan.sieved
    sieve_whole(
        interval,
        base.primes[low:],
        chosen.logs[low:],
        (chosen.first[low:], chosen.second[low:]),
    )
    return scan(interval, interval.view(np.uint64), 0, positions, 0)


@njit(cache=True)
def _promising(
    base: FactorBase, plan: Plan, chosen: Polynomials, interval: Bytes, positions: Ids
) -> int:
    """Keep the positions to which the unsieved primes bring what was hoped for; return how many."""
    first, second, logs = chosen.first, chosen.second, chosen.logs
    inverses, quotients = base.inverses32, base.quotients32
    kept = 0
    for position in positions:
        total = np.int64(interval[position])
        for place in range(FIRST_ODD, plan.sieved, LANES):
            hits = lanes.congruent(first, second, inverses, quotients, place, position)
            while hits:
                index = place + np.int64(trailing_zeros(hits))
                hits &= hits - ONE
                if index < plan.sieved:
                    total += np.int64(logs[index])
        if total >= plan.enough:
            positions[kept] = position
            kept += 1
    return kept


@njit(cache=True)
def _examine(  # noqa: PLR0913, PLR0917 kernels have no keywords
    number: Limbs, base: FactorBase, plan: Plan, chosen: Polynomials, positions: Ids, found: Found
) -> bool:
    """Divide values out, and keep those of which no more than a large prime is left.

    Returns False if there is no room for more.
    """
    roots = chosen.first, chosen.second, base.inverses32, base.quotients32
    primes, inverses, factors = base.primes, base.inverses, found.factors
    largest, large_bound = np.uint64(primes[-1]), np.uint64(plan.large_bound)
    inverse_of_a = word_inverse(chosen.a[0])
    for position in positions:
        relation, count = found.counts[0], found.counts[1]
        if relation == len(found.large) or count + MOST_FACTORS > len(factors):
            return False
        if _evaluate(number, chosen, np.int64(position) - plan.reach, inverse_of_a):
            factors[count] = MINUS_ONE
            count += 1
        rest, count = _rest(
            chosen.value, chosen.indices, primes, inverses, roots, position, factors, count
        )
        if rest == ONE or largest < rest <= large_bound:
            _keep(found, chosen.x, rest, count)
    return True


@njit(cache=True)
def _evaluate(number: Limbs, chosen: Polynomials, offset: np.int64, inverse_of_a: Word) -> bool:
    """Set x to |X| = |2ax + b| and the value to |X² - kn| / a; say whether that was negative."""
    x, value = chosen.x, chosen.value
    x[:] = chosen.b
    if offset >= 0:
        add_product(x, chosen.a, np.uint64(2 * offset))
    else:
        subtract_product(x, chosen.a, np.uint64(-2 * offset))
    if is_negative(x):
        negate(x)
    value[:] = ZERO
    subtract_product(value, number, ONE)
    add_product(value, x, x[0])
    add_product(value[1:], x[:-1], x[1])
    negative = is_negative(value)
    if negative:
        negate(value)
    divide(value, value, chosen.a[0], inverse_of_a)
    return negative


@njit(cache=True)
def _rest(  # noqa: PLR0913, PLR0917
    value: Limbs,
    indices_of_a: Index,
    primes: Ids,
    inverses: Limbs,
    roots: tuple[Ids, Ids, Ids, Ids],
    position: np.uint32,
    factors: Ids,
    count: int,
) -> tuple[Word, int]:
    """Note the prime factors of a·value; return what is left (0 for too much), and their count."""
    low, up = value[0], value[1]
    first, second, inverses32, quotients32 = roots
    while low & ONE == ZERO:
        low, up = low >> ONE | up << TOP_BIT, up >> ONE
        factors[count] = TWO
        count += 1
    for index in indices_of_a:
        low, up, times = _stripped(low, up, np.uint64(primes[index]), inverses[index])
        count = _noted(factors, count, index, times + 1)
    for place in range(FIRST_ODD, len(primes), LANES):
        start = min(place, len(primes) - LANES)
        hits = lanes.congruent(first, second, inverses32, quotients32, start, position)
        hits >>= np.uint64(place - start)
        while hits:
            index = place + np.int64(trailing_zeros(hits))
            hits &= hits - ONE
            low, up, times = _stripped(low, up, np.uint64(primes[index]), inverses[index])
            count = _noted(factors, count, index, times)
    return ZERO if up else low, count


@njit(cache=True, inline="always")
def _noted(factors: Ids, count: int, index: np.int64, times: int) -> int:
    for _ in range(times):
        factors[count] = index
        count += 1
    return count


@njit(cache=True)
def _keep(found: Found, x: Limbs, rest: Word, count: int) -> None:
    """Keep a relation, unless there is one with the same X, and the row that it makes, if it does."""
    relation, row = found.counts[0], found.counts[2]
    partner = np.int64(-1)
    if rest == ONE:
        for other in range(relation):
            if found.x[other, 0] == x[0]:
                return
    else:
        partner = _partner(found, rest, relation)
        if partner >= 0 and found.x[partner, 0] == x[0]:
            return
    found.x[relation, 0], found.x[relation, 1] = x[0], x[1]
    found.ends[relation] = count
    found.large[relation] = rest
    found.counts[0], found.counts[1] = relation + 1, count
    if rest == ONE or partner >= 0:
        found.rows[row, 0], found.rows[row, 1] = relation, partner
        found.counts[2] = row + 1


@njit(cache=True)
def _partner(found: Found, prime: Word, relation: np.int64) -> np.int64:
    """Return the first relation with a large prime, or -1: then it is this one from now on."""
    slot = np.int64(prime * SPREAD >> np.uint64(64 - SLOT_BITS))
    while found.slots[slot] >= 0:
        if found.large[found.slots[slot]] == prime:
            return np.int64(found.slots[slot])
        slot = (slot + 1) % len(found.slots)
    found.slots[slot] = relation
    return np.int64(-1)


@njit(cache=True, inline="always")
def _stripped(low: Word, up: Word, p: Word, inverse: Word) -> tuple[Word, Word, int]:
    """Divide by an odd prime as often as it goes, and say how often (see `arithmetic.divide`)."""
    times = 0
    while True:
        digit = low * inverse
        borrow = high(digit, p)
        upper = (up - borrow) * inverse
        if up < borrow or high(upper, p):
            return low, up, times
        low, up, times = digit, upper, times + 1


@njit(cache=True)
def joined(found: Found) -> Rows:
    """Return the factors of each row, with multiplicity."""
    count = found.counts[2]
    offsets = np.zeros(count + 1, np.int64)
    for row in range(count):
        first, second = found.rows[row]
        length = _length(found, first) + (_length(found, second) if second >= 0 else 0)
        offsets[row + 1] = offsets[row] + length
    columns = np.empty(offsets[count], np.uint32)
    for row in range(count):
        first, second = found.rows[row]
        start, stop = offsets[row], offsets[row + 1]
        middle = start + _length(found, first)
        columns[start:middle] = found.factors[
            found.ends[first] - (middle - start) : found.ends[first]
        ]
        if second >= 0:
            columns[middle:stop] = found.factors[
                found.ends[second] - (stop - middle) : found.ends[second]
            ]
    return Rows(offsets, columns)


@njit(cache=True)
def _length(found: Found, relation: np.int64) -> np.int64:
    return np.int64(found.ends[relation] - (found.ends[relation - 1] if relation else 0))


@njit(cache=True)
def halves(rows: Rows, members: Index, size: int) -> Index:
    """Return half of the exponent that each prime has in the product of some rows; 0 for -1."""
    sums = np.zeros(size, np.int64)
    for row in members:
        for column in rows.columns[rows.offsets[row] : rows.offsets[row + 1]]:
            sums[column] += 1
    sums[MINUS_ONE] = 0
    return sums // 2
