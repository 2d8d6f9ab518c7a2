"""Pure mathematics: factors integers, and knows nothing of brokers, stores, tasks or event loops.

FLINT holds Python's global lock for as long as it computes: call this from child processes only.
"""
