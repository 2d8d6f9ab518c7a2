"""The table of calls, and the documents that are made from it."""
