"""What a job has at hand while it is at work."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from secstorage.download.digest import digest
from secstorage.download.rate import Bucket, Speed
from secstorage.storage_server import durable
from secstorage.storage_server.entry import PROPERTIES, EntryName, Properties, read
from secstorage.storage_server.failure import CancelledError, JobError, StoppedError
from secstorage.storage_server.journal import Job
from secstorage.storage_server.settings import Settings
from secstorage.storage_server.store import Store

_ROOM_BYTES = 64 << 20


class Progress:
    """Of a job's step."""

    def __init__(self) -> None:
        self.step = ""
        self.done = 0
        self.total: int | None = None
        self._speed = Speed()
        self._lock = threading.Lock()

    def begin(self, step: str, total: int | None, done: int = 0) -> None:
        self.step, self.total, self.done = step, total, done
        self._speed = Speed()

    def reached(self, done: int) -> None:
        """So many bytes by now. Told by several threads, maybe out of order."""
        with self._lock:
            more = done - self.done
            if more > 0:
                self.done = done
                self._speed.add(more)

    def as_json(self) -> dict[str, Any]:
        rate = self._speed.per_second()
        told: dict[str, Any] = {"step": self.step, "bytes": self.done, "total_bytes": self.total}
        told["bytes_per_second"] = round(rate)
        if self.total and rate >= 1:
            told["seconds_left"] = max(0, round((self.total - self.done) / rate))
        return told


class Work:
    """`stores` are all that this appliance has. Whatever can be done twice is: a job that was cut off
    anywhere begins again with what stands in its checkpoint and on the disk."""

    def __init__(
        self,
        job: Job,
        store: Store,
        stores: Callable[[], dict[str, Store]],
        settings: Callable[[], Settings],
        bucket: Bucket,
        stopping: Callable[[], bool],
    ) -> None:
        self.job = job
        self.store = store
        self.progress = Progress()
        self.bucket = bucket
        self._stores = stores
        self._settings = settings
        self._stopping = stopping
        self._roomy_until = 0

    @property
    def settings(self) -> Settings:
        return self._settings()

    @property
    def place(self) -> Path:
        return self.store.work(self.job.id)

    def other(self, name: str) -> Store:
        """Another store. Raises JobError."""
        found = self._stores().get(name)
        if found is None or not found.is_open:
            raise JobError("no-store", f"There is no store {name}, or it isn't open")
        return found

    def watch(self) -> None:
        """Raises CancelledError, StoppedError."""
        if self.job.wanted == "cancelled":
            raise CancelledError
        if self._stopping() or not self.store.is_open:
            raise StoppedError

    def save(self, **checkpoint: Any) -> None:
        """Where the job goes on: on the disk when it returns."""
        self.store.journal.update(self.job, checkpoint={**self.job.checkpoint, **checkpoint})

    def room(self, more: int) -> None:
        """Raises JobError where `more` bytes don't fit."""
        free = self.store.room()["free_bytes"]
        if more > free or free == 0:
            raise JobError(
                "store-full", f"Store {self.store.name} has {free} bytes to spare; {max(more, 1)} are needed"
            )

    def growing(self, done: int) -> None:
        """`done` bytes are written now: told to whoever asks, and the store's room is looked at."""
        self.watch()
        self.progress.reached(done)
        if done >= self._roomy_until:
            self._roomy_until = done + _ROOM_BYTES
            self.room(_ROOM_BYTES)

    def digest(self, path: Path) -> str:
        """SHA-256 of a file."""
        self.progress.begin("digest", path.stat().st_size)

        def told(done: int) -> None:
            self.watch()
            self.progress.reached(done)

        return digest(path, "sha256", told=told)

    def source(self, store: Store, name: EntryName) -> tuple[Path, dict[str, Any]]:
        """An entry's file and properties. Raises JobError."""
        try:
            found = read(store.place(name))
        except (FileNotFoundError, ValueError):
            raise JobError("no-entry", f"There is no {name} on store {store.name}") from None
        return store.place(name) / str(found["file"]), found

    def begin(self) -> None:
        self.place.mkdir(mode=0o750, exist_ok=True)

    def is_published(self, name: EntryName) -> bool:
        """Whether this job has brought it already. Raises JobError where another has."""
        place = self.store.place(name)
        try:
            found = read(place)
        except FileNotFoundError:
            if place.exists():
                raise JobError("exists", f"{name} is a directory without properties") from None
            return False
        if found.get("job") != self.job.id:
            raise JobError("exists", f"There is a {name} already; delete it first")
        return True

    def resumed(self, name: EntryName) -> bool:
        """Whether the job had got so far that its entry is whole: then it is done. Raises JobError."""
        if not self.is_published(name):
            staged = self.place / "entry"
            try:
                if not (staged / str(read(staged)["file"])).exists():
                    return False
            except (FileNotFoundError, ValueError):
                return False
        self._put(name)
        return True

    def publish(self, name: EntryName, file: Path, properties: Properties) -> None:
        """The entry is there as a whole, at once, and the job done."""
        self.stage(file, properties)
        self._put(name)

    def stage(self, file: Path, properties: Properties) -> None:
        """All that the entry will be."""
        self.watch()
        staged = self.place / "entry"
        staged.mkdir(mode=0o750, exist_ok=True)
        durable.write(staged / PROPERTIES, properties.as_text())
        # Last, so that a file that was moved has its properties beside it.
        file.chmod(0o440)
        file.rename(staged / properties.file)
        durable.sync_directory(staged)

    def put(self, name: EntryName) -> None:
        """What is staged is where everybody looks."""
        target = self.store.place(name)
        if not self.is_published(name):
            (self.place / "entry").rename(target)
        durable.sync_directory(target.parent)

    def _put(self, name: EntryName) -> None:
        self.put(name)
        self.finish(came={name.place: read(self.store.place(name))})

    def finish(self, *, came: dict[str, dict[str, Any]] | None = None, gone: tuple[str, ...] = ()) -> None:
        """The job is done. Whoever sees that sees what it brought, too."""
        end = {"state": "done", "ended": time.time(), "code": "", "detail": ""}
        self.store.journal.finish(self.job, came=came or {}, gone=gone, **end)
        entries = {place: item for place, item in self.store.entries.items() if place not in gone}
        self.store.entries = entries | (came or {})
        self.job.__dict__.update(end)


def copied(source: Path, target: Path, work: Work) -> None:
    """A file's content in another, sparse where that is quick: shared blocks where the file system can."""
    with source.open("rb") as reading, target.open("wb") as writing:
        size = os.fstat(reading.fileno()).st_size
        at = 0
        while at < size:
            try:
                begin = os.lseek(reading.fileno(), at, os.SEEK_DATA)
            except OSError:
                break  # Only a hole is left.
            end = os.lseek(reading.fileno(), begin, os.SEEK_HOLE)
            while begin < end:
                count = _copied(reading.fileno(), writing.fileno(), begin, min(16 << 20, end - begin))
                if not count:
                    raise JobError("changing", "The source has become shorter")
                begin += count
                work.growing(begin)
            at = end
        writing.truncate(size)
        os.fsync(writing.fileno())
    with suppress(OSError):
        work.progress.reached(size)


def _copied(source: int, target: int, at: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count, at, at)
    except OSError:
        # Between file systems that don't know how.
        return os.pwrite(target, os.pread(source, min(count, 1 << 20), at), at)
