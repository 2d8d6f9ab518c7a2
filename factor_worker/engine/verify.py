"""Verification of a decomposition with GMP alone, independently of the code that found it."""

import math
from itertools import combinations

import gmpy2

from factor_worker.engine.parts import Certainty, Decomposition, EngineError, digits, product

_ROUNDS = 25  # gmpy2's default: BPSW, then one round of Miller-Rabin with a random base


class WrongDecomposition(EngineError):
    """A decomposition is false; the message says in what."""


def verify(n: int, parts: Decomposition) -> None:
    """Check that `parts` is a decomposition of n >= 2, and that its primes and composites are such.

    Proofs are not repeated: a part that is called `proven` passes if it is a probable prime.

    Raises:
        WrongDecomposition: the product, the order, a common factor or a certainty is wrong.
    """
    _verify_shape(parts)
    if product(parts) != n:
        message = "the product of the parts is not the number"
        raise WrongDecomposition(message)
    if any(math.gcd(a.value, b.value) != 1 for a, b in combinations(parts, 2)):
        message = "two parts have a common factor"
        raise WrongDecomposition(message)
    for part in parts:
        claimed_prime = part.certainty is not Certainty.COMPOSITE
        if is_prime(part.value) != claimed_prime:
            size = digits(part.value)
            message = f"a part of {size} digits is called {part.certainty}, which it is not"
            raise WrongDecomposition(message)


def is_prime(n: int) -> bool:
    """Return whether n passes GMP's primality test: BPSW and one round of Miller and Rabin's."""
    return bool(gmpy2.is_prime(n, _ROUNDS))


def _verify_shape(parts: Decomposition) -> None:
    values = [part.value for part in parts]
    if any(value <= 1 for value in values) or any(part.exponent < 1 for part in parts):
        message = "a part is not a positive power of a number above 1"
        raise WrongDecomposition(message)
    if values != sorted(set(values)):
        message = "the parts are not in ascending order"
        raise WrongDecomposition(message)
