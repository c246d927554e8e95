"""The journal of a store: its jobs and what is on it, in SQLite on the store itself.

A store may be NFS, so there is no WAL, which needs memory that all its users share; and SQLite's locks are
left out (the VFS `unix-none`), for the lease says who writes. Every change is on the disk when it returns
(`synchronous=EXTRA`, a rollback journal): what was acknowledged outlives a power cut.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

State = Literal["waiting", "running", "done", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled"})
_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, request TEXT NOT NULL, state TEXT NOT NULL, priority INTEGER NOT NULL,
    created REAL NOT NULL, started REAL, ended REAL, not_before REAL NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, wanted TEXT NOT NULL DEFAULT '', code TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '', checkpoint TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    place TEXT PRIMARY KEY, properties TEXT NOT NULL
) WITHOUT ROWID;
"""


class LeaseLostError(Exception):
    """The store may be another appliance's by now: nothing is written."""


@dataclass(kw_only=True)
class Job:
    id: str
    request: dict[str, Any]
    state: State
    priority: int
    created: float
    started: float | None = None
    ended: float | None = None
    not_before: float = 0.0
    attempts: int = 0
    wanted: str = ""
    """`cancelled`, where somebody wants that."""
    code: str = ""
    detail: str = ""
    checkpoint: dict[str, Any] = field(default_factory=dict)
    """Where it goes on."""


class Journal:
    """Raises sqlite3.Error or OSError from a store that doesn't answer."""

    def __init__(self, path: Path, held: Callable[[], bool]) -> None:
        self._held = held
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            f"file:{quote(str(path))}?vfs=unix-none", uri=True, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA journal_mode=DELETE")
        self._connection.execute("PRAGMA synchronous=EXTRA")
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if not self._held():
                raise LeaseLostError("The lease of the store has ended")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def add(self, job: Job) -> None:
        with self._change() as connection:
            connection.execute(
                "INSERT INTO jobs (id, request, state, priority, created) VALUES (?, ?, ?, ?, ?)",
                (job.id, json.dumps(job.request), job.state, job.priority, job.created),
            )

    def update(self, job: Job, **changes: Any) -> None:
        """The job is changed once that is on the disk: nobody is told of it before."""
        changed = replace(job, **changes)
        with self._change() as connection:
            _update(connection, changed)
        job.__dict__.update(changes)

    def finish(
        self, job: Job, *, came: Mapping[str, dict[str, Any]], gone: tuple[str, ...] = (), **changes: Any
    ) -> None:
        """The same for a job that is done, and what is on the store by it: both at once."""
        changed = replace(job, **changes)
        with self._change() as connection:
            _update(connection, changed)
            _entries(connection, came, gone)

    def jobs(self) -> list[Job]:
        with self._lock:
            self._connection.row_factory = sqlite3.Row
            rows = [dict(row) for row in self._connection.execute("SELECT * FROM jobs ORDER BY created, id")]
            self._connection.row_factory = None
        for row in rows:
            row |= {name: json.loads(row[name]) for name in ("request", "checkpoint")}
        return [Job(**row) for row in rows]

    def forget(self, job: str) -> None:
        with self._change() as connection:
            connection.execute("DELETE FROM jobs WHERE id = ?", (job,))

    def entries(self) -> dict[str, dict[str, Any]]:
        """By place, a directory of the store."""
        with self._lock:
            rows = self._connection.execute("SELECT * FROM entries ORDER BY place").fetchall()
        return {place: json.loads(text) for place, text in rows}

    def note(self, *, came: Mapping[str, dict[str, Any]], gone: tuple[str, ...]) -> None:
        """What somebody else brought or took."""
        with self._change() as connection:
            _entries(connection, came, gone)


def new(job: str, request: dict[str, Any]) -> Job:
    return Job(id=job, request=request, state="waiting", priority=request["priority"], created=time.time())


def _update(connection: sqlite3.Connection, job: Job) -> None:
    connection.execute(
        "UPDATE jobs SET state=?, priority=?, started=?, ended=?, not_before=?, attempts=?, wanted=?, "
        "code=?, detail=?, checkpoint=? WHERE id=?",
        (
            *(job.state, job.priority, job.started, job.ended, job.not_before, job.attempts, job.wanted),
            *(job.code, job.detail, json.dumps(job.checkpoint), job.id),
        ),
    )


def _entries(
    connection: sqlite3.Connection, came: Mapping[str, dict[str, Any]], gone: tuple[str, ...]
) -> None:
    connection.executemany("DELETE FROM entries WHERE place = ?", [(place,) for place in gone])
    connection.executemany(
        "INSERT OR REPLACE INTO entries VALUES (?, ?)",
        [(place, json.dumps(properties)) for place, properties in came.items()],
    )
