"""An entry of another store, copied or moved to this one."""

import shutil
import time
from dataclasses import fields

from secstorage.storage_server import durable
from secstorage.storage_server.entry import Properties
from secstorage.storage_server.failure import JobError
from secstorage.storage_server.request import Copy
from secstorage.storage_server.work import Work, copied


def run(work: Work, request: Copy) -> None:
    if work.is_published(request.entry):
        _gone(work, request)
        work.resumed(request.entry)
        return
    other = work.other(request.from_store)
    source, found = work.source(other, request.source)
    work.begin()
    target = work.place / "copied"
    if not (work.place / "entry" / str(found["file"])).exists():
        work.room(source.stat().st_blocks * 512)
        work.progress.begin("copy", int(found["size"]))
        copied(source, target, work)
        if work.digest(target) != found["sha256"]:
            raise JobError("checksum", f"{request.source} on store {other.name} isn't what was put there")
        known = {field.name for field in fields(Properties)}
        kept = {name: value for name, value in found.items() if name in known}
        made = Properties(
            **{
                **kept,
                "kind": request.entry.kind,
                "id": request.entry.id,
                "job": work.job.id,
                "created": time.time(),
            }
        )
        work.stage(target, made)
    work.put(request.entry)
    _gone(work, request)
    work.resumed(request.entry)


def _gone(work: Work, request: Copy) -> None:
    """Of a move the source, once the copy is there for good."""
    if not request.move:
        return
    other = work.other(request.from_store)
    place = other.place(request.source)
    trash = other.own / "trash" / work.job.id
    if place.exists():
        if other.settings.state == "read_only":
            raise JobError("read-only", f"Store {other.name} is read-only: {request.source} stays there")
        other.forget_entry(request.source)
        place.rename(trash)
        durable.sync_directory(place.parent)
    other.journal.note(came={}, gone=(request.source.place,))
    shutil.rmtree(trash, ignore_errors=True)
