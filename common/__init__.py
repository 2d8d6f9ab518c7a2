"""What the gateway and the workers agree on: numbers, tasks, factorizations, units and the two ports."""
