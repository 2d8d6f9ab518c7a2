"""Elliptic curves, P-1 and P+1: finding factors of up to about 35 digits.

Importing this package imports nothing else.
"""
