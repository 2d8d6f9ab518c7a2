"""From relations to divisors: filtering, linear algebra, square root.

`solve.solve` is the way in. `harvest` keeps the verified relations of a number; `filtering` joins partial
relations into relation-sets; `merging` makes the matrix of the sets smaller, `dense` or `lanczos` finds its
dependencies (`linear_algebra` decides which); `square_root` turns dependencies into divisors. `sparse` is
the form in which matrices go from step to step.
Importing this package loads none of its modules.
"""
