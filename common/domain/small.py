"""Numbers of at most 64 bits: factoring one takes less time than handing it to somebody else.

FLINT takes 8 µs for two primes of 20 bits and 0.3 ms for two of 32 bits, and its test of primality is a
proof up to 2^64. A unit that travels through a broker to a child process and back takes milliseconds.
So whoever is asked computes the answer, each time anew: nothing of it is stored but the task.
"""

from typing import Final

from flint import fmpz

from common.domain.codec import BigInt
from common.domain.factorizations import Factorization, Part
from common.domain.tasks import Ending, Status
from common.domain.units import Certainty

LIMIT: Final = 1 << 64
"""Numbers below it are answered at once."""


def factorization(number: int, at: float) -> Factorization:
    """Return the complete factorization of 2 <= number < `LIMIT`, as if it had ended at that time.

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
