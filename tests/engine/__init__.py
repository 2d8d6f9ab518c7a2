"""The engine: pure mathematics, tested by properties and by numbers with a story."""
