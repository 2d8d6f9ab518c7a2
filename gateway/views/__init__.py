"""What clients see: models, tasks and numbers as models, errors as problems. No I/O and no event loop."""
