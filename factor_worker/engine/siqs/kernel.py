"""The sieve itself: all polynomials of an a, from roots to relations."""

import numpy as np
from numba import njit

from factor_worker.engine.siqs import division, initialisation, limbs
from factor_worker.engine.siqs.division import Found, Scratch
from factor_worker.engine.siqs.tables import U8, U32, Leading, Number

BLOCK = 1 << 15
NOWHERE = np.uint32(0xFFFFFFFF)


@njit(cache=True)
def _sieve(number: Number, first: U32, second: U32, sieve: U8) -> None:
    sieve[:] = np.uint8(number.threshold)
    length = np.uint32(number.length)
    for i in range(number.sieved, len(number.primes)):
        prime, log = number.primes[i], number.logs[i]
        position = first[i]
        if position == NOWHERE:
            continue
        while position < length:
            sieve[position] -= log
            position = np.uint32(position + prime)
        position = second[i]
        while position < length:
            sieve[position] -= log
            position = np.uint32(position + prime)


@njit(cache=True, nogil=True)
def sieve_family(
    number: Number, leading: Leading, first: U32, second: U32, steps: U32, found: Found
) -> bool:
    """Sieve all polynomials of an a. Return False if `found` has no room for what they yield."""
    found.counts[:] = 0
    sieve = np.empty(number.length, dtype=np.uint8)
    words = sieve.view(np.uint64)
    scratch = Scratch(
        np.empty(limbs.LIMBS, dtype=np.uint64),
        np.empty(2 * limbs.LIMBS, dtype=np.uint64),
        np.empty(limbs.LIMBS, dtype=np.uint64),
        np.empty(limbs.LIMBS, dtype=np.uint64),
        np.empty(len(number.primes), dtype=np.uint8),
    )
    initialisation.roots(number, leading, first, second, steps)
    start = leading.start.copy()
    polynomials = 1 << (len(leading.primes) - 1)
    for index in leading.indices:
        first[index] = NOWHERE
        second[index] = NOWHERE
    for polynomial in range(polynomials):
        _sieve(number, first, second, sieve)
        for word in range(len(words)):
            if words[word] & np.uint64(0x8080808080808080):
                for position in range(8 * word, 8 * word + 8):
                    if sieve[position] & np.uint8(128):
                        if (
                            found.counts[0] == len(found.positions)
                            or found.counts[1] + division.MOST > len(found.factors)
                        ):
                            return False
                        bits = number.threshold + 256 - np.int64(sieve[position])
                        division.relation(
                            number,
                            leading,
                            first,
                            second,
                            start,
                            np.uint32(polynomial),
                            np.uint32(position),
                            bits,
                            scratch,
                            found,
                        )
        following = np.uint64(polynomial + 1)
        if following == np.uint64(polynomials):
            break
        place = np.int64(limbs.trailing_zeros(following))
        minus = ((following ^ (following >> np.uint64(1))) >> np.uint64(place)) & np.uint64(1)
        if minus:
            limbs.subtract(start, leading.parts[place])
        else:
            limbs.add(start, leading.parts[place])
        initialisation.advance(number, steps[place], first, minus == np.uint64(1))
        initialisation.advance(number, steps[place], second, minus == np.uint64(1))
        for index in leading.indices:
            first[index] = NOWHERE
            second[index] = NOWHERE
    return True
