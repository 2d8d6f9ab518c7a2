"""Every row of the laboratory, by name."""

from tests.chaos import (
    attack_rows,
    broker_rows,
    client_rows,
    embedded_rows,
    page_rows,
    process_rows,
    store_rows,
)
from tests.chaos.row import ROWS

__all__ = [
    "ROWS",
    "attack_rows",
    "broker_rows",
    "client_rows",
    "embedded_rows",
    "page_rows",
    "process_rows",
    "store_rows",
]
