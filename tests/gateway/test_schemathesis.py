"""Schemathesis invents requests from the OpenAPI document, good ones and bad ones, for a live server."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from common.broker.memory import MemoryBroker
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from factor_worker.worker import Worker

PROGRAM = Path(sys.executable).with_name("schemathesis")
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = os.environ.get("FACTORLINE_TEST_EXAMPLES", "8")
"""Requests invented for each call, besides those at the limits of its parameters."""
SECONDS = os.environ.get("FACTORLINE_TEST_SECONDS")
"""How long requests, and sequences of them, are invented: `make fuzz` sets it. By default a few are."""


@pytest.fixture
async def worker(store: SqliteStore, broker: MemoryBroker) -> AsyncIterator[None]:
    """Run a worker, because Schemathesis also submits numbers with a wait."""
    worker = Worker(Settings(slots=1), store, broker)
    await worker.start(alone=True)
    yield
    await worker.stop(grace_seconds=0)


@pytest.mark.usefixtures("worker")
async def test_the_gateway_keeps_to_its_document(
    client: TestClient[web.Request, web.Application], tmp_path: Path
) -> None:
    """No 5xx, no answer that the document lacks, nothing accepted or refused against the schema."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        "--config-file",
        CONFIGURATION,
        "run",
        str(client.make_url("/openapi.json")),
        *(
            (f"--max-time={SECONDS}",)
            if SECONDS
            else (
                "--phases=examples,coverage,fuzzing",
                f"--max-examples={EXAMPLES}",
                "--seed=20261125",
            )
        ),
        "--generation-database=none",
        "--request-timeout=30",
        "--no-color",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()

    assert 0 == process.returncode, said.decode()
    assert b"Tested: 17" in said
