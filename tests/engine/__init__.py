"""The engine: pure mathematics, tested by properties and on numbers that are known to be hard."""
