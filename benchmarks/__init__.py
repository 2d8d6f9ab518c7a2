"""Benchmarks: speed, as ratios to a peer or to another checkout, and correctness of whole installations."""
