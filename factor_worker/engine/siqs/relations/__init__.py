"""Relations on their way between workers: encoded as bytes, and verified on arrival.

`codec` encodes and decodes batches of relations. `verification` checks batches that somebody else sieved,
as strictly as if they came from an enemy, and gives them the form that `solve` works on.
Importing this package loads none of its modules.
"""
