"""The infrastructure: the local stack, the configuration of the servers, and tools for the repository."""
