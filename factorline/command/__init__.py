"""The command `factorline`: what people and scripts type."""
