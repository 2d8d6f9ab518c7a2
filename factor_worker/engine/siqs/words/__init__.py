"""Arithmetic on machine words and arrays of them, compiled.

Importing this package imports nothing else.
"""
