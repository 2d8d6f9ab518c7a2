"""A quadratic sieve of its own for numbers of 60 to 144 bits (19 to 43 digits), whole, in one call.

`tiny.factor` is the way in, `kernel` the compiled part from a factor base to enough relations.
Importing this package loads none of its modules.
"""
