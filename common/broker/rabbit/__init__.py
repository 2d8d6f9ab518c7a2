"""The broker port on RabbitMQ, through aio-pika."""

from common.broker.rabbit.broker import RabbitBroker

__all__ = ["RabbitBroker"]
