"""The embedded side of the store port: SQLite in one file. Concurrent writes share a durable commit."""

from common.store.sqlite.access import Access
from common.store.sqlite.factorizations import Factorizations
from common.store.sqlite.tasks import Tasks
from common.store.sqlite.work import Work


class SqliteStore(Tasks, Factorizations, Work, Access):
    """The tables hold each value as JSON, plus the columns that queries need."""
