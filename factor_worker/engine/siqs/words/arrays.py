"""The arrays that kernels work on, by what their elements are."""

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.uint32]
"""Primes, residues modulo them, or places in a factor base."""
Index = npt.NDArray[np.int64]
"""Places in other arrays, and counts."""
Words = npt.NDArray[np.uint64]
"""Vectors over GF(2), 64 to a word."""
Floats = npt.NDArray[np.float64]
