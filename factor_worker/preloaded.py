"""What every child process has from its birth: the fork server imports this module, once.

See `factor_worker.children`. To load the kernels takes a CPU second and 100 MB.
"""

import gc
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: a process with threads is not to be forked

from factor_worker import children, compute  # noqa: F401 see above; children is for them to have
from factor_worker.engine.siqs import warm

warm.warm()
SERVER = os.getpid()
"""Whose children the forked ones are."""
SLOWNESS = compute.slowness()
"""This machine's, see `compute.slowness`."""
gc.freeze()  # a collection would write to every page that the children share
