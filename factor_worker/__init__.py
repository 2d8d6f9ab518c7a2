"""The worker: takes units off the queue, computes them in child processes, and decides what is next."""
