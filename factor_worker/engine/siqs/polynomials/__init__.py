"""How a number is sieved: its parameters, its factor base and its polynomials.

`parameters.choose` picks the multiplier and the tuned values once; they travel with every sieve unit.
`factor_base.of` and `polynomials.family` derive the rest from them, the same on every machine.
Importing this package loads none of its modules.
"""
