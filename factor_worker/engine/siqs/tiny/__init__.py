"""A quadratic sieve of its own for numbers of 19 to 43 digits."""
