"""A disk in another format, as an entry of its own."""

import os
import time

from secstorage.formats.conversion import converted
from secstorage.formats.format import RefusedFileError, file_name
from secstorage.formats.inspection import inspected
from secstorage.storage_server.entry import Properties
from secstorage.storage_server.failure import JobError
from secstorage.storage_server.request import Convert
from secstorage.storage_server.work import Work


def run(work: Work, request: Convert) -> None:
    if work.resumed(request.entry):
        return
    work.begin()
    source, properties = work.source(work.store, request.source)
    target = work.place / "converted"
    target.unlink(missing_ok=True)
    limits = work.settings.limits
    work.progress.begin("convert", None)

    def watch() -> None:
        # Blocks, for what it writes has holes.
        work.growing(target.stat().st_blocks * 512)

    try:
        converted(
            source,
            target,
            from_format=properties["format"],
            to_format=request.format,
            compress=request.compress,
            file_bytes=limits.file_bytes,
            watch=watch,
        )
        with target.open("rb") as file:
            os.fsync(file.fileno())
        found = inspected(
            target,
            expected=request.format,
            virtual_bytes=limits.virtual_bytes,
            members=limits.archive_members,
        )
    except RefusedFileError as error:
        raise JobError("refused-file", str(error)) from None
    made = Properties(
        kind=request.entry.kind,
        id=request.entry.id,
        job=work.job.id,
        file=file_name(found.format),
        format=found.format,
        size=target.stat().st_size,
        virtual_bytes=found.virtual_bytes,
        sha256=work.digest(target),
        created=time.time(),
        description=request.description,
        source=str(request.source),
        properties=request.properties,
    )
    work.publish(request.entry, target, made)
