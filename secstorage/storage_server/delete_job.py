"""An entry goes: at once for everybody who looks, and from the disk after that."""

import shutil

from secstorage.storage_server import durable
from secstorage.storage_server.failure import JobError
from secstorage.storage_server.request import Delete
from secstorage.storage_server.work import Work


def run(work: Work, request: Delete) -> None:
    place = work.store.place(request.entry)
    trash = work.store.own / "trash" / work.job.id
    if not trash.exists():
        if not place.exists() and not work.job.checkpoint.get("begun"):
            raise JobError("no-entry", f"There is no {request.entry} on store {work.store.name}")
        if not work.job.checkpoint.get("begun"):
            work.save(begun=True)
        # First it is listed no more.
        work.store.forget_entry(request.entry)
        if place.exists():
            place.rename(trash)
        durable.sync_directory(place.parent)
    work.progress.begin("delete", None)
    shutil.rmtree(trash, ignore_errors=True)
    work.finish(gone=(request.entry.place,))
