"""The worker takes units from the queue, computes them in child processes, and plans what comes next."""
