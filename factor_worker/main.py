"""The worker as a program of its own, between RabbitMQ and MongoDB."""

from common.program.run import Frame, require_servers, run
from factor_worker.worker import Worker


async def _serve(frame: Frame) -> None:
    worker = Worker(frame.settings, frame.store, frame.broker)
    await worker.start()
    await frame.until_stopped()
    await worker.stop()


def main() -> None:
    """Run the program."""
    run(_serve, service="factorline-worker", kind="worker", check=require_servers)
