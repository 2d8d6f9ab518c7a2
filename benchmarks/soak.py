"""Does the sieve split every random composite of 25 to 60 digits?

    python -m benchmarks.soak --count 2000

They are products of two or three primes of random sizes above a million. All of them go to the sieve, even
those that the service would factor in another way. It stops at the first failure, with exit status 1.
"""

import argparse
import random
import sys
import time

import gmpy2

from factor_worker.engine import coprime, parts
from factor_worker.engine.siqs import complete

DIGITS = (25, 60)
MIN_PRIME_DIGITS = 7
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
    first = chance.randint(MIN_PRIME_DIGITS, digits - MIN_PRIME_DIGITS)
    rest = digits - first
    if rest >= 2 * MIN_PRIME_DIGITS and chance.random() < 1 / 3:
        second = chance.randint(MIN_PRIME_DIGITS, rest - MIN_PRIME_DIGITS)
        return [first, second, rest - second]
    return [first, rest]


def _prime(digits: int, chance: random.Random) -> int:
    return int(gmpy2.next_prime(chance.randrange(10 ** (digits - 1), 10**digits)))


def is_split(value: int) -> bool:
    """Return whether the sieve splits a number into at least two proper factors."""
    whole = parts.Part(value, 1, parts.Certainty.COMPOSITE)
    pieces = coprime.split([whole], complete.factor(value))
    return len(pieces) > 1 and parts.product(pieces) == value


def main() -> None:
    """Sieve numbers until the count is reached or one fails."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance, began = random.Random(options.seed), time.process_time()
    for done in range(1, options.count + 1):
        value = composite(chance)
        if not is_split(value):
            sys.exit(f"{value} was not split ({done - 1} numbers before it were)")
        if done % REPORT_EVERY == 0 or done == options.count:
            print(f"{done} split, {time.process_time() - began:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
