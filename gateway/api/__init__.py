"""The table of calls, and the OpenAPI and AsyncAPI documents made from it."""
