"""A quadratic sieve of its own for numbers of up to about 47 digits."""
