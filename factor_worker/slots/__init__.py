"""Child processes that compute units.

Importing this package imports nothing else: `preload` decides what a child loads, and in which order.
"""
