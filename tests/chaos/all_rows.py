"""Every row of the laboratory, by name."""

from tests.chaos import broker_rows, client_rows, embedded_rows, process_rows, store_rows
from tests.chaos.row import ROWS

__all__ = ["ROWS", "broker_rows", "client_rows", "embedded_rows", "process_rows", "store_rows"]
