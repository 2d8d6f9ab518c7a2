"""From relations to divisors: filtering, linear algebra, square root.

Importing this package imports nothing else.
"""
