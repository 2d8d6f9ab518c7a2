"""What any program of ours needs around its work: settings, logs, traces, signals."""
