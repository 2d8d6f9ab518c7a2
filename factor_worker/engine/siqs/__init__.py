"""Self-initialising quadratic sieve: numbers of 19 to 100 digits that curves cannot split.

`parameters.choose` decides how a number is sieved, `unit.sieve` finds relations for a range of
polynomials, `verification.verify` checks them, `solve.solve` turns enough of them into divisors.
Importing this package imports nothing else: numba takes half a second, and not every process sieves.
"""
