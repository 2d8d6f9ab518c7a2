"""The usual way to do work in the background: Flask in front, Celery behind, RabbitMQ and Redis between.

It is run by its own environment (see `benchmarks.peers.celery_flask`) and imports nothing of ours.
"""
