"""Finding relations: sieving a range of a-indices.

`unit.sieve` is the way in. For each a, `initialisation` computes the first roots; `kernel` goes through
the polynomials of the a, `interval` sieves each and lists candidates, `candidates` divides these out;
`tables` has the arrays that all of them share.
Importing this package loads none of its modules.
"""
