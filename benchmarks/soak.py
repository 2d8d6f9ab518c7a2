"""Sieve random composites of 25 to 60 digits in a row, and stop at the first that does not come out.

    python -m benchmarks.soak --count 2000

They are products of two or three primes of random sizes above a million; the sieve gets all of them, also
those that the service would give to something else. The exit status is 1 after a failure.
"""

import argparse
import random
import sys
import time

import gmpy2

from factor_worker.engine import coprime, parts
from factor_worker.engine.siqs import complete

DIGITS = (25, 60)
LEAST_PRIME_DIGITS = 7
REPORT_EVERY = 100


def composite(chance: random.Random) -> int:
    """Return a product of two or three different primes."""
    digits = chance.randint(*DIGITS)
    while True:
        sizes = _sizes(digits, chance)
        primes = {_prime(size, chance) for size in sizes}
        value = parts.product(parts.Part(p, 1, parts.Certainty.PROVEN) for p in primes)
        if len(primes) == len(sizes) and DIGITS[0] <= parts.digits(value) <= DIGITS[1]:
            return value


def _sizes(digits: int, chance: random.Random) -> list[int]:
    first = chance.randint(LEAST_PRIME_DIGITS, digits - LEAST_PRIME_DIGITS)
    rest = digits - first
    if rest >= 2 * LEAST_PRIME_DIGITS and chance.random() < 1 / 3:
        second = chance.randint(LEAST_PRIME_DIGITS, rest - LEAST_PRIME_DIGITS)
        return [first, second, rest - second]
    return [first, rest]


def _prime(digits: int, chance: random.Random) -> int:
    return int(gmpy2.next_prime(chance.randrange(10 ** (digits - 1), 10**digits)))


def is_split(value: int) -> bool:
    """Return whether the sieve takes a number apart into two proper pieces at least."""
    whole = parts.Part(value, 1, parts.Certainty.COMPOSITE)
    pieces = coprime.split([whole], complete.factor(value))
    return len(pieces) > 1 and parts.product(pieces) == value


def main() -> None:
    """Run until the count or a failure."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    chance, began = random.Random(asked.seed), time.process_time()
    for done in range(1, asked.count + 1):
        value = composite(chance)
        if not is_split(value):
            sys.exit(f"not split, after {done - 1} that were: {value}")
        if done % REPORT_EVERY == 0 or done == asked.count:
            print(f"{done} split, {time.process_time() - began:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
