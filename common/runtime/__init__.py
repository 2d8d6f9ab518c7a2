"""What every program needs besides its work: settings, logs, traces, signals, concurrency."""
