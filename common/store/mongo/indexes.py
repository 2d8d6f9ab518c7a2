"""The indexes of the collections in MongoDB."""

from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel

EXPIRY: Final = IndexModel([("expires_on", ASCENDING)], name="expiry", expireAfterSeconds=0)
"""The server removes a document at the time in this field; one without it stays."""

INDEXES: Final = {
    "tasks": [
        IndexModel(
            [("owner", ASCENDING), ("idempotency_key", ASCENDING)],
            name="keyed",  # for the keys of version 0.1
            unique=True,
            # Not `$type`: MongoDB would not recognise that a query for a key is covered by it.
            partialFilterExpression={"idempotency_key": {"$gt": ""}},
        ),
        IndexModel(
            [("owner", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)], name="newest"
        ),
        IndexModel(
            [("key", ASCENDING), ("owner", ASCENDING)],
            name="wanted",
            partialFilterExpression={"live": True},
        ),
        IndexModel(
            [(name, ASCENDING) for name in ("unjoined", "owner", "lane", "created_at")],
            name="unjoined",
            partialFilterExpression={"unjoined": True},
        ),
        IndexModel(
            [("owner", ASCENDING), ("lane", ASCENDING), ("joined", ASCENDING)],
            name="in_progress",
            partialFilterExpression={"live": True},
        ),
        IndexModel(
            [("joined", ASCENDING), ("key", ASCENDING)],
            name="begun",
            partialFilterExpression={"live": True},
        ),
        IndexModel(
            [("key", ASCENDING), ("ended.at", ASCENDING), ("owner", ASCENDING)], name="ended"
        ),
        EXPIRY,
    ],
    "requests": [EXPIRY],
    "keys": [IndexModel([("key_id", ASCENDING)], name="key_id", unique=True)],
    "factorizations": [
        IndexModel(
            [(state, ASCENDING), ("shard", ASCENDING), ("number", ASCENDING)],
            name=f"{state}_shards",
            partialFilterExpression={state: True},
        )
        for state in ("active", "unpublished")
    ]
    + [
        IndexModel(
            [("waits_for", ASCENDING), ("number", ASCENDING)],
            name="waiting",
            partialFilterExpression={"active": True},
        )
    ],
    "outcomes": [
        IndexModel([("number", ASCENDING), ("unit_id", ASCENDING)], name="unit", unique=True)
    ],
    "batches": [
        IndexModel([("number", ASCENDING), ("unit_id", ASCENDING)], name="unit", unique=True)
    ],
}
"""For every query one index begins with the fields it compares for equality, or is partial by them."""
