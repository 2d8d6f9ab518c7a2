"""Arithmetic on machine words that numba has no names for, compiled: the ground floor of the sieve.

`arithmetic` has words and multi-word integers, `lanes` vectors of sixteen words, `cofactor` the splitting
of what is left of a value into large primes; `arrays` names the arrays that kernels work on.
Importing this package loads none of its modules.
"""
