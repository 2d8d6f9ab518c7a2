"""What others build: the same job done by the usual parts, to be measured beside us."""
