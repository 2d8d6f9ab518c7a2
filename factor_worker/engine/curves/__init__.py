"""Special-purpose methods that find a factor by its size: P-1, P+1 and elliptic curves (ECM).

`ecm` runs a batch of them on one number, `gmp_ecm` drives the program that does the work, and `effort` knows
how many curves find a factor of which size. The plan asks for factors of up to 35 digits.
Importing this package loads none of its modules.
"""
