"""The usual way to run background work: Flask in front, Celery behind, RabbitMQ and Redis between them.

It runs in an environment of its own (see `benchmarks.peers.celery_flask`) and imports nothing of ours.
"""
