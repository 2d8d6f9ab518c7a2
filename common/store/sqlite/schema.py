"""The tables and indexes of the SQLite file, and how files of earlier versions become files of this one."""

import sqlite3

from common.domain import SHORT_DIGITS, Factorization

LONG = f"(length(number) > {SHORT_DIGITS})"
"""Whether a task is in the long lane, as queries and indexes express it."""
ENDED_AT = "json_extract(CAST(body AS TEXT), '$.ended.at')"
"""When a task ended, as queries and indexes express it."""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS tasks (
    task_id TEXT PRIMARY KEY, owner TEXT NOT NULL, number TEXT NOT NULL, created_at REAL NOT NULL,
    round INTEGER NOT NULL, joined INTEGER NOT NULL, live INTEGER NOT NULL, idempotency_key TEXT,
    body BLOB NOT NULL) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS tasks_idempotency ON tasks (owner, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS tasks_newest ON tasks (owner, created_at, task_id);
CREATE INDEX IF NOT EXISTS tasks_wanted ON tasks (number, live, owner);
CREATE INDEX IF NOT EXISTS tasks_ended ON tasks (number, {ENDED_AT}, owner)
    WHERE NOT live;
CREATE INDEX IF NOT EXISTS tasks_in_progress ON tasks (owner, {LONG}, joined)
    WHERE live;
CREATE INDEX IF NOT EXISTS tasks_begun ON tasks (number)
    WHERE live AND joined;
CREATE INDEX IF NOT EXISTS tasks_waiting ON tasks (owner, {LONG}, created_at)
    WHERE live AND NOT joined;
DROP INDEX IF EXISTS tasks_live;
DROP INDEX IF EXISTS tasks_number;
DROP INDEX IF EXISTS tasks_unjoined;
CREATE INDEX IF NOT EXISTS tasks_ended_at ON tasks ({ENDED_AT})
    WHERE NOT live;
CREATE TABLE IF NOT EXISTS requests (
    request_id TEXT PRIMARY KEY, made_at REAL NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS requests_made ON requests (made_at);
CREATE TABLE IF NOT EXISTS factorizations (
    number TEXT PRIMARY KEY, version INTEGER NOT NULL, touched_at REAL NOT NULL,
    active INTEGER NOT NULL, unpublished INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS factorizations_active ON factorizations (number) WHERE active;
CREATE INDEX IF NOT EXISTS factorizations_unpublished ON factorizations (number) WHERE unpublished;
CREATE TABLE IF NOT EXISTS waits (
    awaited TEXT, number TEXT, PRIMARY KEY (awaited, number)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waits_number ON waits (number);
CREATE TABLE IF NOT EXISTS batches (
    number TEXT, unit_id TEXT, batch BLOB NOT NULL, PRIMARY KEY (number, unit_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outcomes (
    number TEXT, unit_id TEXT, body BLOB NOT NULL, PRIMARY KEY (number, unit_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS workers (
    worker_id TEXT PRIMARY KEY, seen_at REAL NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
    digest TEXT PRIMARY KEY, key_id TEXT UNIQUE NOT NULL, created_at REAL NOT NULL,
    body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS accounts (
    owner TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
"""

LAYOUT = 1
"""SQLite's `user_version` of the file. 1: `waits` is filled."""


def upgrade(connection: sqlite3.Connection) -> None:
    """Add what files of earlier versions lack: the table of what numbers wait for was empty in them."""
    if connection.execute("PRAGMA user_version").fetchone()[0] >= LAYOUT:
        return
    connection.execute("BEGIN IMMEDIATE")
    for (body,) in connection.execute("SELECT body FROM factorizations WHERE active").fetchall():
        known = Factorization.decode(body)
        rows = [(str(int(awaited)), str(int(known.number))) for awaited in known.waits_for]
        connection.executemany("INSERT OR IGNORE INTO waits VALUES (?, ?)", rows)
    connection.execute(f"PRAGMA user_version = {LAYOUT:d}")
    connection.execute("COMMIT")
