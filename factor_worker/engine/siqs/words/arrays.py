"""Names for the arrays that kernels work on, by what their elements are."""

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.bool_]
"""Flags."""
Bytes = npt.NDArray[np.uint8]
"""Sieve positions, or rounded logarithms."""
Ids = npt.NDArray[np.uint32]
"""Primes, residues modulo them, positions in the sieve interval, or indices into a factor base."""
Index = npt.NDArray[np.int64]
"""Indices into other arrays, offsets and counts."""
Limbs = npt.NDArray[np.uint64]
"""Multi-word integers, little-endian, or single words such as large primes."""
Words = npt.NDArray[np.uint64]
"""Vectors over GF(2), 64 at a time: bit i of word j is coordinate j of vector i."""
Floats = npt.NDArray[np.float64]
"""Whole numbers below 2^53, held as doubles because loops over those become vector instructions."""
