"""Mathematics alone: factors integers, and knows nothing of brokers, stores, tasks or event loops.

`survey` takes the first look at a number, `curves` runs P-1, P+1 and ECM, `siqs` is the quadratic sieve,
`whole` factors a number completely in one call. `parts` has the value in which all of them answer, and
`verify` checks such an answer independently.

FLINT holds Python's global lock for as long as it computes, so call the engine from child processes only.
"""
