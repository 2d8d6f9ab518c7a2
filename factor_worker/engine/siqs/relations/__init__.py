"""Relations as bytes, and the check of those that somebody else found.

Importing this package imports nothing else.
"""
