"""What every child process has from birth: the fork server imports this module once.

See `factor_worker.slots.forkserver`. Loading the kernels takes a CPU second and 100 MB.
"""

import functools
import gc
import os

gc.disable()  # loading makes little garbage, and looking for it took a sixth of the time
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: a process with threads must not be forked

from factor_worker.engine.siqs import warm  # noqa: E402 after the lines above
from factor_worker.slots import child, compute  # noqa: E402 after the lines above

warm.warm()
SERVER_PID = os.getpid()
"""The fork server's, in every process that it forks."""
serve = functools.partial(child.serve, server_pid=SERVER_PID, slowness=compute.measure_slowness())
"""What a child process does, see `factor_worker.slots.forkserver.run_child`."""
gc.freeze()  # a collection would write to every page that the children share
gc.enable()
