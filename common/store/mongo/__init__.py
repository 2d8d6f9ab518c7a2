"""The MongoDB side of the store port."""

from common.store.mongo.access import Access
from common.store.mongo.factorizations import Factorizations
from common.store.mongo.indexes import INDEXES
from common.store.mongo.server import POOL
from common.store.mongo.tasks import Tasks
from common.store.mongo.work import Work

__all__ = ["INDEXES", "POOL", "MongoStore"]


class MongoStore(Tasks, Factorizations, Work, Access):
    """Documents hold the values' own fields, plus `_id` and the fields that queries need."""
