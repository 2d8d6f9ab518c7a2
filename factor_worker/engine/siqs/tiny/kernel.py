"""The tiny sieve's kernel: from a factor base to enough relations, in one compiled call.

Theory of operation
-------------------
The mathematics is that of the big sieve (`polynomials.polynomials`, `sieve.kernel`): the same Q(x), an a
that is a product of primes of the base, b's in the order of the Gray code, one addition per root and
polynomial. At 19 to 43 digits a whole factorization takes milliseconds, so everything that serves
sharing and size is gone. There are no a-indices: a's are drawn at random, from a fixed seed. There are no
units, no codec and no verification, no far primes and no buffers that grow.

Small sizes buy shortcuts. An a fits into one word, so |X² - kn| / a takes one exact division and fits into
two words. The interval has at most 32 768 positions and stays in the first-level cache. A position is
evaluated only if its sieve byte is high enough once the unsieved small primes are added, sixteen of them
at a time (`_worth_dividing`). A relation has at most one large prime, and a hash table finds the first
relation with the same one (`_partner_of`): one full relation, or two partial ones with the same large
prime, make a row of the matrix. `collect_relations` ends when there are `EXCESS` more rows than columns.

Functions take whole tables and hand single arrays on to their inner loops: a call with a table costs more
than a division.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit

from factor_worker.engine.siqs.polynomials.factor_base import FIRST_ODD, MINUS_ONE, TWO, FactorBase
from factor_worker.engine.siqs.sieve.interval import advance, scan, sieve_whole_interval
from factor_worker.engine.siqs.solve.sparse import Rows
from factor_worker.engine.siqs.words import lanes
from factor_worker.engine.siqs.words.arithmetic import (
    ONE,
    TOP_BIT,
    ZERO,
    Word,
    add_product,
    divide_exact,
    is_negative,
    modular_inverse,
    multiply_high,
    negate,
    subtract_product,
    trailing_zeros,
    word_inverse,
)
from factor_worker.engine.siqs.words.arrays import Bytes, Ids, Index, Limbs
from factor_worker.engine.siqs.words.lanes import LANES

KN_WORDS: Final = 3
"""Words of kn, a, b and values before the division by a. X needs two."""
EXCESS: Final = 12
"""Rows beyond the size of the factor base: at least as many dependencies, half of which split n."""
RELATIONS_PER_ROW: Final = 8
"""Room for relations, for each row that is wanted. Three or four are used."""
FACTORS_PER_RELATION: Final = 24
"""Room for factors, for each relation on average. About 17 are used."""
FACTORS_LIMIT: Final = 160
"""More prime factors, with multiplicity, than a relation can have: values have fewer bits."""
POOL_SIZE: Final = 16
"""Primes of about the ideal size, from which all primes of a but the last are drawn."""
MAX_DRAWS: Final = 200
"""Draws in search of a new a, before the a's count as used up."""
MAX_AS: Final = 4096
"""The most a's that are ever tried; ten are enough for 30 digits."""
MAX_RATIO: Final = 2.0
"""An a is at most this many times larger or smaller than the ideal one."""
RANDOM_MULTIPLIER: Final = np.uint64(6364136223846793005)
RANDOM_INCREMENT: Final = np.uint64(1442695040888963407)
"""Knuth's MMIX generator of pseudo-random words, of which the upper half is used."""
HALF_WORD: Final = np.uint64(32)
SLOT_BITS: Final = 13
"""The hash table of large primes has 2^`SLOT_BITS` slots."""
HASH_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio, which spreads large primes over the slots (Fibonacci hashing)."""


class TinyParameters(NamedTuple):
    """How to sieve a number: the counterpart of `Parameters` and `Limits` of the big sieve."""

    size: int
    """Entries of the factor base."""
    half_interval: int
    """M: polynomials are sieved at -M ≤ x < M."""
    first_sieved: int
    """Index of the smallest prime that is sieved."""
    initial_byte: int
    """What sieve bytes start from, so that `CANDIDATE_BIT` gets set where a position is worth a look."""
    enough: int
    """What a byte must reach, once the unsieved primes are added, for its value to be trial divided."""
    factors: int
    """s, the primes of a."""
    ideal_a: float
    """The a that would give the smallest values."""
    large_bound: int
    """The largest large prime."""


class Workspace(NamedTuple):
    """The current polynomial, and what changes with it; see the big sieve's `Workspace`."""

    a: Limbs
    """uint64[3], of which one word is used."""
    b: Limbs
    """uint64[3]."""
    b_terms: Limbs
    """uint64[s, 3]: B_l."""
    a_factors: Index
    """int64[s]: the primes of a, as indices into the factor base."""
    roots1: Ids
    """uint32[size]: the first position, below p, where each prime divides the value ..."""
    roots2: Ids
    """uint32[size]: ... and the same for the other square root of kn."""
    deltas: Ids
    """uint32[s, size]: the distance that roots move when the sign of B_l changes."""
    logs: Bytes
    """uint8[size]: logarithms, 0 for the primes of a."""
    x: Limbs
    """uint64[3]: |X| of the position that is looked at."""
    value: Limbs
    """uint64[3]: its value."""


class RelationBuffer(NamedTuple):
    """Relations X² ≡ ∏ factors · large prime (mod n), and the rows of the matrix that they make."""

    x: Limbs
    """uint64[m, 2]: |X|."""
    ends: Index
    """int64[m]: where each relation's factors end."""
    factors: Ids
    """uint32: indices into the factor base with multiplicity, -1, 2 and the primes of a among them."""
    large_primes: Limbs
    """uint64[m]: the large prime, or 1."""
    rows: Index
    """int64[m, 2]: a full relation and -1, or two partial ones with the same large prime."""
    slots: Index
    """int64[2^`SLOT_BITS`]: a hash table of the first relation with each large prime; -1 is empty."""
    counts: Index
    """int64[3]: how many relations, factors and rows there are."""


@njit(cache=True)
def collect_relations(kn: Limbs, base: FactorBase, parameters: TinyParameters) -> RelationBuffer:
    """Sieve until there are `EXCESS` more rows than columns, or no further a is found.

    `kn` is uint64[`KN_WORDS`]. The buffer has room enough in practice; if it should fill up, sieving ends.
    """
    wanted = parameters.size + EXCESS
    buffer = RelationBuffer(
        np.empty((RELATIONS_PER_ROW * wanted, 2), np.uint64),
        np.empty(RELATIONS_PER_ROW * wanted, np.int64),
        np.empty(RELATIONS_PER_ROW * wanted * FACTORS_PER_RELATION, np.uint32),
        np.empty(RELATIONS_PER_ROW * wanted, np.uint64),
        np.empty((RELATIONS_PER_ROW * wanted, 2), np.int64),
        np.full(1 << SLOT_BITS, -1, np.int64),
        np.zeros(3, np.int64),
    )
    work = Workspace(
        np.zeros(KN_WORDS, np.uint64),
        np.zeros(KN_WORDS, np.uint64),
        np.zeros((parameters.factors, KN_WORDS), np.uint64),
        np.zeros(parameters.factors, np.int64),
        np.zeros(parameters.size, np.uint32),
        np.zeros(parameters.size, np.uint32),
        np.zeros((parameters.factors, parameters.size), np.uint32),
        base.logs.copy(),
        np.zeros(KN_WORDS, np.uint64),
        np.zeros(KN_WORDS, np.uint64),
    )
    interval = np.empty(2 * parameters.half_interval, np.uint8)
    positions = np.empty(2 * parameters.half_interval, np.uint32)
    used = np.zeros(MAX_AS, np.uint64)
    random = ONE
    for count in range(MAX_AS):
        random = _choose_a(base, parameters, work, used[: count + 1], random)
        if random == ZERO:
            break
        _start(base, parameters, work)
        for polynomial in range(1 << (parameters.factors - 1)):
            if polynomial:
                _next_polynomial(base, work, polynomial)
            listed = _sieve(base, parameters, work, interval, positions)
            listed = _worth_dividing(base, parameters, work, interval, positions[:listed])
            if not _examine(kn, base, parameters, work, positions[:listed], buffer):
                return buffer
            if buffer.counts[2] >= wanted:
                return buffer
    return buffer


@njit(cache=True)
def _choose_a(
    base: FactorBase, parameters: TinyParameters, work: Workspace, used: Limbs, random: Word
) -> Word:
    """Draw an a that was not used before; return the random generator's state, or 0 if none was found.

    All primes but the last come from the pool; the last is the one that brings a closest to its ideal.
    The chosen a is written to the last entry of `used`.
    """
    size = len(base.primes)
    root = parameters.ideal_a ** (1.0 / parameters.factors)
    centre = FIRST_ODD + 2
    while centre < size - 1 and base.primes[centre] < root:
        centre += 1
    low = max(FIRST_ODD + 1, min(centre - POOL_SIZE // 2, size - POOL_SIZE))
    for _ in range(MAX_DRAWS):
        a, taken = ONE, np.int64(0)
        while taken < parameters.factors - 1:
            random = random * RANDOM_MULTIPLIER + RANDOM_INCREMENT
            drawn = low + np.int64((random >> HALF_WORD) % np.uint64(POOL_SIZE))
            if base.roots[drawn] and drawn not in work.a_factors[:taken]:
                work.a_factors[taken] = drawn
                a *= np.uint64(base.primes[drawn])
                taken += 1
        wanted = parameters.ideal_a / np.float64(a)
        error = np.inf
        for index in range(FIRST_ODD, size):
            p = np.float64(base.primes[index])
            ratio = max(p / wanted, wanted / p)
            if ratio < error and base.roots[index] and index not in work.a_factors[:taken]:
                work.a_factors[taken], error = index, ratio
        a *= np.uint64(base.primes[work.a_factors[taken]])
        if error <= MAX_RATIO and a not in used:
            used[-1] = a
            work.a[0] = a
            return random
    return ZERO


@njit(cache=True)
def _start(base: FactorBase, parameters: TinyParameters, work: Workspace) -> None:
    """Set the workspace to the first polynomial of the chosen a."""
    a = work.a[0]
    work.b[:] = ZERO
    work.logs[:] = base.logs
    for place, index in enumerate(work.a_factors):
        q = np.uint64(base.primes[index])
        cofactor = a // q
        gamma = np.uint64(base.roots[index]) * modular_inverse(cofactor % q, q) % q
        work.b_terms[place, 0] = min(gamma, q - gamma) * cofactor
        add_product(work.b, work.b_terms[place], ONE)
        work.logs[index] = 0
    shift = work.b[0] & ONE ^ ONE
    add_product(work.b, work.a, shift)
    for index in range(FIRST_ODD, parameters.size):
        p = np.uint64(base.primes[index])
        inverse = modular_inverse(a % p, p)
        middle = shift
        for place in range(parameters.factors):
            delta = work.b_terms[place, 0] % p * inverse % p
            work.deltas[place, index] = np.uint32(delta)
            middle += delta
        middle %= p
        root = np.uint64(base.roots[index]) * inverse % p
        half, half_interval = (p + ONE) >> ONE, np.uint64(parameters.half_interval)
        work.roots1[index] = np.uint32(((root + p - middle) * half + half_interval) % p)
        work.roots2[index] = np.uint32(((p - root + p - middle) * half + half_interval) % p)


@njit(cache=True)
def _next_polynomial(base: FactorBase, work: Workspace, polynomial: int) -> None:
    """Go on to the next polynomial in the order of the Gray code, as `sieve.kernel.sieve_next` does."""
    term = np.int64(trailing_zeros(np.uint64(polynomial)))
    becomes_negative = bool((polynomial ^ (polynomial >> 1)) >> term & 1)
    if becomes_negative:
        subtract_product(work.b, work.b_terms[term], np.uint64(2))
    else:
        add_product(work.b, work.b_terms[term], np.uint64(2))
    advance(work.roots1, work.deltas[term], base.primes, becomes_negative)
    advance(work.roots2, work.deltas[term], base.primes, becomes_negative)


@njit(cache=True)
def _sieve(
    base: FactorBase, parameters: TinyParameters, work: Workspace, interval: Bytes, positions: Ids
) -> int:
    """Sieve the interval; return how many positions were listed as worth a look."""
    interval[:] = np.uint8(parameters.initial_byte)
    low = parameters.first_sieved
    sieve_whole_interval(
        interval,
        base.primes[low:],
        work.logs[low:],
        (work.roots1[low:], work.roots2[low:]),
    )
    return scan(interval, interval.view(np.uint64), 0, positions, 0)


@njit(cache=True)
def _worth_dividing(
    base: FactorBase, parameters: TinyParameters, work: Workspace, interval: Bytes, positions: Ids
) -> int:
    """Keep the positions whose byte reaches `enough` with the unsieved primes; return how many."""
    first, second, logs = work.roots1, work.roots2, work.logs
    inverses, quotients = base.inverses32, base.quotients32
    kept = 0
    for position in positions:
        total = np.int64(interval[position])
        for place in range(FIRST_ODD, parameters.first_sieved, LANES):
            hits = lanes.root_hits(first, second, inverses, quotients, place, position)
            while hits:
                index = place + np.int64(trailing_zeros(hits))
                hits &= hits - ONE
                if index < parameters.first_sieved:
                    total += np.int64(logs[index])
        if total >= parameters.enough:
            positions[kept] = position
            kept += 1
    return kept


@njit(cache=True)
def _examine(  # noqa: PLR0913, PLR0917 kernels have no keywords
    kn: Limbs,
    base: FactorBase,
    parameters: TinyParameters,
    work: Workspace,
    positions: Ids,
    buffer: RelationBuffer,
) -> bool:
    """Trial divide the values at some positions, and keep those that leave 1 or a large prime.

    Returns False if the buffer is full.
    """
    roots = work.roots1, work.roots2, base.inverses32, base.quotients32
    primes, inverses, factors = base.primes, base.inverses, buffer.factors
    largest, large_bound = np.uint64(primes[-1]), np.uint64(parameters.large_bound)
    inverse_of_a = word_inverse(work.a[0])
    for position in positions:
        relation, count = buffer.counts[0], buffer.counts[1]
        if relation == len(buffer.large_primes) or count + FACTORS_LIMIT > len(factors):
            return False
        if _evaluate(kn, work, np.int64(position) - parameters.half_interval, inverse_of_a):
            factors[count] = MINUS_ONE
            count += 1
        cofactor, count = _trial_divide(
            work.value, work.a_factors, primes, inverses, roots, position, factors, count
        )
        if cofactor == ONE or largest < cofactor <= large_bound:
            _keep(buffer, work.x, cofactor, count)
    return True


@njit(cache=True)
def _evaluate(kn: Limbs, work: Workspace, offset: np.int64, inverse_of_a: Word) -> bool:
    """Set x to |X| = |2a·offset + b| and the value to |X² - kn| / a; return whether X² < kn."""
    x, value = work.x, work.value
    x[:] = work.b
    if offset >= 0:
        add_product(x, work.a, np.uint64(2 * offset))
    else:
        subtract_product(x, work.a, np.uint64(-2 * offset))
    if is_negative(x):
        negate(x)
    value[:] = ZERO
    subtract_product(value, kn, ONE)
    add_product(value, x, x[0])
    add_product(value[1:], x[:-1], x[1])
    negative = is_negative(value)
    if negative:
        negate(value)
    divide_exact(value, value, work.a[0], inverse_of_a)
    return negative


@njit(cache=True)
def _trial_divide(  # noqa: PLR0913, PLR0917
    value: Limbs,
    a_factors: Index,
    primes: Ids,
    inverses: Limbs,
    roots: tuple[Ids, Ids, Ids, Ids],
    position: np.uint32,
    factors: Ids,
    count: int,
) -> tuple[Word, int]:
    """Write the prime factors of a·value; return the cofactor (0 if it has two words) and their count."""
    low, high = value[0], value[1]
    first, second, inverses32, quotients32 = roots
    while low & ONE == ZERO:
        low, high = low >> ONE | high << TOP_BIT, high >> ONE
        factors[count] = TWO
        count += 1
    for index in a_factors:
        low, high, times = _divide_out(low, high, np.uint64(primes[index]), inverses[index])
        count = _append(factors, count, index, times + 1)
    for place in range(FIRST_ODD, len(primes), LANES):
        start = min(place, len(primes) - LANES)
        hits = lanes.root_hits(first, second, inverses32, quotients32, start, position)
        hits >>= np.uint64(place - start)
        while hits:
            index = place + np.int64(trailing_zeros(hits))
            hits &= hits - ONE
            low, high, times = _divide_out(low, high, np.uint64(primes[index]), inverses[index])
            count = _append(factors, count, index, times)
    return ZERO if high else low, count


@njit(cache=True, inline="always")
def _append(factors: Ids, count: int, index: np.int64, times: int) -> int:
    for _ in range(times):
        factors[count] = index
        count += 1
    return count


@njit(cache=True)
def _keep(buffer: RelationBuffer, x: Limbs, cofactor: Word, count: int) -> None:
    """Keep a relation unless there is one with the same X, and with it the row that it completes, if any."""
    relation, row = buffer.counts[0], buffer.counts[2]
    partner = np.int64(-1)
    if cofactor == ONE:
        for other in range(relation):
            if buffer.x[other, 0] == x[0]:
                return
    else:
        partner = _partner_of(buffer, cofactor, relation)
        if partner >= 0 and buffer.x[partner, 0] == x[0]:
            return
    buffer.x[relation, 0], buffer.x[relation, 1] = x[0], x[1]
    buffer.ends[relation] = count
    buffer.large_primes[relation] = cofactor
    buffer.counts[0], buffer.counts[1] = relation + 1, count
    if cofactor == ONE or partner >= 0:
        buffer.rows[row, 0], buffer.rows[row, 1] = relation, partner
        buffer.counts[2] = row + 1


@njit(cache=True)
def _partner_of(buffer: RelationBuffer, prime: Word, relation: np.int64) -> np.int64:
    """Return the first relation with this large prime; if there is none, enter this one and return -1."""
    slot = np.int64(prime * HASH_MULTIPLIER >> np.uint64(64 - SLOT_BITS))
    while buffer.slots[slot] >= 0:
        if buffer.large_primes[buffer.slots[slot]] == prime:
            return np.int64(buffer.slots[slot])
        slot = (slot + 1) % len(buffer.slots)
    buffer.slots[slot] = relation
    return np.int64(-1)


@njit(cache=True, inline="always")
def _divide_out(low: Word, high: Word, p: Word, inverse: Word) -> tuple[Word, Word, int]:
    """Divide two words by an odd prime as often as possible; return them and how often it was.

    See `arithmetic.divide_exact` for the method.
    """
    times = 0
    while True:
        digit = low * inverse
        borrow = multiply_high(digit, p)
        upper = (high - borrow) * inverse
        if high < borrow or multiply_high(upper, p):
            return low, high, times
        low, high, times = digit, upper, times + 1


@njit(cache=True)
def row_factors(buffer: RelationBuffer) -> Rows:
    """Return the factors of each row of the matrix, with multiplicity."""
    count = buffer.counts[2]
    offsets = np.zeros(count + 1, np.int64)
    for row in range(count):
        first, second = buffer.rows[row]
        length = _length(buffer, first) + (_length(buffer, second) if second >= 0 else 0)
        offsets[row + 1] = offsets[row] + length
    columns = np.empty(offsets[count], np.uint32)
    for row in range(count):
        first, second = buffer.rows[row]
        start, stop = offsets[row], offsets[row + 1]
        middle = start + _length(buffer, first)
        columns[start:middle] = buffer.factors[
            buffer.ends[first] - (middle - start) : buffer.ends[first]
        ]
        if second >= 0:
            columns[middle:stop] = buffer.factors[
                buffer.ends[second] - (stop - middle) : buffer.ends[second]
            ]
    return Rows(offsets, columns)


@njit(cache=True)
def _length(buffer: RelationBuffer, relation: np.int64) -> np.int64:
    return np.int64(buffer.ends[relation] - (buffer.ends[relation - 1] if relation else 0))


@njit(cache=True)
def half_exponents(rows: Rows, members: Index, size: int) -> Index:
    """Return half the exponent of each prime in the product of some rows, 0 for -1: int64[size]."""
    sums = np.zeros(size, np.int64)
    for row in members:
        for column in rows.columns[rows.offsets[row] : rows.offsets[row + 1]]:
            sums[column] += 1
    sums[MINUS_ONE] = 0
    return sums // 2
