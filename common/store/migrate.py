"""`factorline migrate`: makes a store ready for this version, before its programs start.

They do it by themselves when they start, beside their work. This waits for it, however long it takes.
"""

import asyncio
import sys

from common import errors
from common.runtime.settings import Settings
from common.store.factory import open_store


async def run(settings: Settings) -> None:
    """Migrate the store that the settings name.

    Raises:
        errors.StoreUnavailable: It does not answer; what is done is done, and the rest can be repeated.

    """
    async with open_store(settings) as store:
        await store.migrate()


def main() -> None:
    """Run the command. A `FactorlineError` ends it with its message and status 1."""
    try:
        asyncio.run(run(Settings.from_environ()))
    except errors.FactorlineError as error:
        sys.exit(f"factorline migrate: {error.for_operators}")
    sys.stdout.write("The store is ready for this version.\n")


if __name__ == "__main__":
    main()
