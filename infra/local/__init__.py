"""The whole of Factorline as plain processes on loopback, where there is no Docker."""
