"""What clients see: models, representations, problems. Pure."""
