"""A store as this appliance has it: its lease, its journal, its directories, and how it is."""

import logging
import os
import secrets
import shutil
import sqlite3
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from secstorage.storage_server import durable, entry
from secstorage.storage_server.entry import DIRECTORIES, EntryName
from secstorage.storage_server.journal import Journal, LeaseLostError
from secstorage.storage_server.lease import HeldError, Lease
from secstorage.storage_server.settings import StoreSettings

log = logging.getLogger(__name__)
OWN = ".sysvm"
"""What is the daemon's own, beside the three directories that are everybody's."""


class UnavailableError(Exception):
    """The store isn't there now: why, in a sentence."""


class Store:
    """Opened and closed by `tend` alone, which one thread calls every few seconds."""

    def __init__(self, name: str, settings: StoreSettings, owner: str) -> None:
        self.name = name
        self.settings = settings
        self.detail = "It isn't open yet"
        self.latency: float | None = None
        self.entries: dict[str, dict[str, Any]] = {}
        """What is on it, by place."""
        self.removal = threading.Event()
        self.is_ready = False
        self._owner = owner
        self._lease: Lease | None = None
        self._journal: Journal | None = None

    @property
    def own(self) -> Path:
        return self.settings.path / OWN

    @property
    def is_open(self) -> bool:
        """Whether it is this appliance's, and its jobs are known."""
        return self.is_ready and self._journal is not None and self.is_held

    @property
    def journal(self) -> Journal:
        """Raises UnavailableError."""
        journal = self._journal
        if journal is None or not self.is_held:
            raise UnavailableError(f"Store {self.name}: {self.detail}")
        return journal

    def work(self, job: str) -> Path:
        """Where a job has what isn't done yet."""
        return self.own / "jobs" / job

    def place(self, name: EntryName) -> Path:
        return self.settings.path / name.place

    def room(self) -> dict[str, int]:
        """Bytes. Raises OSError."""
        usage = shutil.disk_usage(self.settings.path)
        free = max(0, usage.free - self.settings.reserve_bytes)
        return {"capacity_bytes": usage.total, "used_bytes": usage.used, "free_bytes": free}

    def forget_entry(self, name: EntryName) -> None:
        """It is listed no more, from now on."""
        self.entries = {place: item for place, item in self.entries.items() if place != name.place}

    def clear(self, job: str) -> None:
        """What a job left goes."""
        for place in (self.work(job), self.own / "trash" / job):
            shutil.rmtree(place, ignore_errors=True)

    def tend(self) -> bool:
        """Open it if that can be, else see that it still answers. Whether it has just been opened."""
        try:
            if not self.is_open:
                self.close()
                self._open()
                return True
            self._renew()
            self._probe()
        except (OSError, sqlite3.Error, HeldError, LeaseLostError, UnavailableError) as error:
            if str(error) != self.detail:
                log.warning("Store %s: %s", self.name, error)
            self.detail = str(error)
            self.latency = None
            if isinstance(error, HeldError) or not self.is_open:
                self.close()
        return False

    def close(self) -> None:
        """Jobs on it find out by its journal."""
        self.is_ready = False
        journal, self._journal = self._journal, None
        if journal is not None:
            with suppress(sqlite3.Error):
                journal.close()
        if self._lease is not None:
            self._lease.lost()

    def release(self) -> None:
        """For good: another appliance may have it at once. No job may be at work on it any more."""
        lease = self._lease
        if lease is not None:
            held = lease.held
            journal, self._journal = self._journal, None
            if journal is not None:
                with suppress(sqlite3.Error):
                    journal.close()
            if held:
                lease.release()

    def _open(self) -> None:
        path = self.settings.path
        if self.settings.mounted and not os.path.ismount(path):
            raise UnavailableError("It isn't mounted")
        if not self.settings.mounted:
            path.mkdir(mode=0o750, exist_ok=True)
        for directory in (*DIRECTORIES.values(), OWN, f"{OWN}/jobs", f"{OWN}/trash"):
            (path / directory).mkdir(mode=0o750, exist_ok=True)
        if self._lease is None:
            self._lease = Lease(self.own / "lease", self._owner)
        self._lease.acquire()
        self._journal = Journal(self.own / "journal.sqlite", lambda: self.is_held)
        self._probe()
        self._take_stock()
        self.detail = "ok"

    def _renew(self) -> None:
        if self._lease is not None:
            self._lease.renew()

    @property
    def is_held(self) -> bool:
        return self._lease is not None and self._lease.held

    def _probe(self) -> None:
        """Written and read: what a job would do."""
        begun = time.monotonic()
        content = secrets.token_bytes(4096)
        durable.write(self.own / "probe", content)
        if (self.own / "probe").read_bytes() != content:
            raise UnavailableError("What was written isn't what is read")
        self.latency = time.monotonic() - begun
        if self.detail != "ok":
            log.info("Store %s answers", self.name)
        self.detail = "ok"

    def _take_stock(self) -> None:
        """What is there may have come or gone by other hands; the directories are right."""
        known = self.journal.entries()
        found: dict[str, dict[str, Any]] = {}
        for directory in DIRECTORIES.values():
            for path in sorted((self.settings.path / directory).iterdir()):
                place = f"{directory}/{path.name}"
                if place in known:
                    found[place] = known[place]
                elif path.is_dir():
                    with suppress(FileNotFoundError, ValueError):
                        found[place] = entry.read(path)
        came = {place: item for place, item in found.items() if place not in known}
        gone = tuple(place for place in known if place not in found)
        if came or gone:
            self.journal.note(came=came, gone=gone)
        self.entries = found
