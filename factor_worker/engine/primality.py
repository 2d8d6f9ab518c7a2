"""Primality: a test that no composite is known to pass, and proofs for sizes where they are quick."""

from typing import Final

from flint import fmpz

from factor_worker.engine.parts import Certainty, require_above_one

PROOF_LIMIT_DIGITS: Final = 300
"""A proof (APR-CL by FLINT) takes 0.2 s for 100 digits, 1.6 s for 200 and 6 s for 300."""
_PROOF_LIMIT = 10**PROOF_LIMIT_DIGITS
_BPSW_IS_PROOF_BELOW = 1 << 64  # Feitsma and Galway checked every number below (2013)


def is_probable_prime(n: int) -> bool:
    """Return whether n passes BPSW, the test of Baillie, Pomerance, Selfridge and Wagstaff (1980)."""
    return bool(fmpz(n).is_probable_prime())


def classify(n: int, *, prove: bool) -> Certainty:
    """Return whether n >= 2 is prime, and how certain that is.

    `prove` asks for a proof, which numbers of more than `PROOF_LIMIT_DIGITS` digits never get.
    """
    require_above_one(n)
    if not is_probable_prime(n):
        return Certainty.COMPOSITE
    if n < _BPSW_IS_PROOF_BELOW:
        return Certainty.PROVEN
    if not prove or n >= _PROOF_LIMIT:
        return Certainty.PROBABLE
    return Certainty.PROVEN if fmpz(n).is_prime() else Certainty.COMPOSITE
