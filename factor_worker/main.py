"""The worker program of the production shape, between RabbitMQ and MongoDB."""

import contextlib
import sys

import uvloop

from common import errors
from common.broker.factory import open_broker
from common.program import probe
from common.runtime import garbage
from common.runtime.logs import configure_logging
from common.runtime.settings import Settings, forget_secrets
from common.runtime.signals import stop_on_signals
from common.runtime.tracing import configure_tracing
from common.store.factory import open_store
from factor_worker.worker import Worker


async def _main() -> None:
    """Run until SIGTERM or SIGINT; a second signal exits at once."""
    settings = Settings.from_environ().named("worker")
    forget_secrets()
    configure_logging(settings)
    if not (settings.amqp_url and settings.mongodb_uri):
        raise errors.SettingError(
            name="FACTORLINE_AMQP_URL and FACTORLINE_MONGODB_URI",
            value="",
            why="a worker on its own needs both (`make run` needs neither)",
        )
    stopping = stop_on_signals()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(configure_tracing(settings, service="factorline-worker"))
        store = await stack.enter_async_context(open_store(settings))
        broker = await stack.enter_async_context(open_broker(settings))
        await stack.enter_async_context(probe.serving(settings, broker))
        worker = Worker(settings, store, broker)
        await worker.start()
        garbage.look_seldom()
        await stopping.wait()
        await worker.stop()


def main() -> None:
    """Run the program; a `FactorlineError` or a port in use ends it with a message and status 1."""
    try:
        uvloop.run(_main())
    except (errors.FactorlineError, OSError) as error:
        sys.exit(f"factor_worker: {error}")
