"""Numbers below 2^64: factoring one takes less time than handing it to a worker (docs/adr/0009).

FLINT takes 8 µs for the product of two 20-bit primes and 0.3 ms for two of 32 bits, and its primality test is
a proof up to 2^64. A unit that goes through the broker to a child process and back takes milliseconds. So the
program that is asked computes the answer, afresh each time, and only the task is stored.
"""

from typing import Final

from flint import fmpz

from common.domain.codec import BigInt
from common.domain.factorizations import Factorization, Part
from common.domain.tasks import Ending, Status
from common.domain.units import Certainty

LIMIT: Final = 1 << 64
"""Smaller numbers are answered at once."""


def factorization(number: int, at: float) -> Factorization:
    """Return the complete factorization of 2 <= number < `LIMIT`, ended at the given time.

    Args:
        number: What to factor.
        at: Seconds since the epoch.

    Raises:
        ArithmeticError: FLINT's factors do not multiply to the number.

    """
    found = Factorization(
        number=BigInt(number),
        created_at=at,
        touched_at=at,
        parts=tuple(
            Part(value=BigInt(prime), exponent=exponent, certainty=Certainty.PROVEN)
            for prime, exponent in fmpz(int(number)).factor()
        ),
        ended=Ending(status=Status.SUCCEEDED, at=at),
    )
    found.check()
    return found
