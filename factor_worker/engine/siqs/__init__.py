"""The self-initialising quadratic sieve: composites of 19 to 100 digits, by a sieve of our own in numba.

`parameters.choose` decides how a number is sieved, `unit.sieve` finds the relations of a range of a-indices,
`verification.verify` checks them, `solve.solve` turns enough of them into divisors. `complete.factor` does
all of that in one process, `tiny.factor` is for numbers of up to 43 digits, `forecast` predicts how far
along a sieve is, and `warm` compiles every kernel. Each folder is a chapter of docs/explanation/engine.md.
Importing this package loads none of its modules: numba takes half a second, and not every process sieves.
"""
