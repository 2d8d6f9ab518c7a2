"""How a number is sieved: parameters, factor base, polynomials.

Importing this package imports nothing else.
"""
