"""What the programs run on: the local stack, and configuration of the servers beside them."""
