"""What every child process has from its birth: the fork server imports this module, once.

See `factor_worker.slots.forkserver`. To load the kernels takes a CPU second and 100 MB.
"""

import gc
import os

gc.disable()  # loading makes little garbage, and a sixth of the time went into looking for it
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: a process with threads is not to be forked

from factor_worker.engine.siqs import warm  # noqa: E402 after the lines above
from factor_worker.slots import child, compute  # noqa: E402, F401 what a child runs

warm.warm()
SERVER = os.getpid()
"""Whose children the forked ones are."""
SLOWNESS = compute.slowness()
"""This machine's, see `compute.slowness`."""
gc.freeze()  # a collection would write to every page that the children share
gc.enable()
