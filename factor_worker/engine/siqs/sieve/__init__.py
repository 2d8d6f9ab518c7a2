"""Finding relations: the sieve over a range of polynomials.

Importing this package imports nothing else.
"""
