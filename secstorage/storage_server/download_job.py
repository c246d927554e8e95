"""A download: fetched, verified, unpacked, inspected, published. Each step finds what the last one left."""

import time
from pathlib import Path

from secstorage.download.rate import Bucket
from secstorage.download.stored import StoreError
from secstorage.download.transfer import Checkpoint, FailedError, Limits, Transfer
from secstorage.download.url import check
from secstorage.formats.expansion import unpacked
from secstorage.formats.format import RefusedFileError, file_name
from secstorage.formats.inspection import inspected
from secstorage.formats.recognition import packing
from secstorage.storage_server.entry import Properties
from secstorage.storage_server.failure import JobError
from secstorage.storage_server.request import Download
from secstorage.storage_server.work import Work


def run(work: Work, request: Download) -> None:
    """Raises what ends it: JobError, StoppedError, CancelledError, OSError."""
    if work.resumed(request.entry):
        return
    work.begin()
    fetched = work.place / "fetched"
    if "sha256" not in work.job.checkpoint:
        work.save(sha256=_fetched(work, request, fetched))
    sha256 = str(work.job.checkpoint["sha256"])
    try:
        file = _plain(work, request, fetched)
        work.progress.begin("inspect", None)
        limits = work.settings.limits
        found = inspected(
            file,
            expected=request.format,
            virtual_bytes=limits.virtual_bytes,
            members=limits.archive_members,
        )
    except RefusedFileError as error:
        raise JobError("refused-file", str(error)) from None
    if file != fetched:
        sha256 = work.digest(file)
    properties = Properties(
        kind=request.entry.kind,
        id=request.entry.id,
        job=work.job.id,
        file=file_name(found.format),
        format=found.format,
        size=file.stat().st_size,
        virtual_bytes=found.virtual_bytes,
        sha256=sha256,
        created=time.time(),
        description=request.description,
        source=check(request.urls[0]).shown,
        disks=[disk.as_json() for disk in found.disks],
        properties={**found.properties, **request.properties},
    )
    work.publish(request.entry, file, properties)


def _fetched(work: Work, request: Download, path: Path) -> str:
    """The SHA-256 of what is there, in whole and as it should be."""
    settings = work.settings
    algorithm, _, wanted = (request.checksum or "").partition(":")
    kept = work.job.checkpoint.get("fetch", {})
    checkpoint = Checkpoint(
        size=kept.get("size"),
        validator=kept.get("validator", ""),
        ranges=tuple((begin, end) for begin, end in kept.get("ranges", [])) if path.exists() else (),
    )
    login = settings.logins.get(request.credential or "")
    if request.credential is not None and login is None:
        raise JobError("no-credential", f"There is no credential {request.credential}")

    def keep(now: Checkpoint) -> None:
        work.save(fetch={"size": now.size, "validator": now.validator, "ranges": now.ranges})

    limits = settings.limits
    transfer = Transfer(
        path=path,
        urls=[check(url) for url in request.urls],
        web=settings.web,
        limits=Limits(
            connections=limits.connections,
            attempts=limits.attempts,
            least_bytes_per_second=limits.least_bytes_per_second,
            file_bytes=limits.file_bytes,
        ),
        login=login,
        algorithms=["sha256", *([algorithm] if algorithm else [])],
        verified=bool(algorithm),
        buckets=[work.bucket, Bucket(request.bytes_per_second)],
        checkpoint=checkpoint,
        keep=keep,
        watch=work.watch,
        room=work.room,
        came=lambda count: _told(work, transfer),
    )
    work.progress.begin("download", checkpoint.size, sum(end - begin for begin, end in checkpoint.ranges))
    try:
        digests = transfer.run()
    except FailedError as error:
        raise JobError(error.code, str(error)) from None
    except StoreError as error:
        raise error.error from None
    if algorithm and digests[algorithm] != wanted:
        # Nothing of it is right for certain: a retry begins anew.
        path.unlink()
        work.save(fetch={})
        raise JobError("checksum", f"The file's {algorithm} is {digests[algorithm]}, not {wanted}")
    return digests["sha256"]


def _told(work: Work, transfer: Transfer) -> None:
    work.progress.total = transfer.total
    work.progress.reached(transfer.received.count)


def _plain(work: Work, request: Download, fetched: Path) -> Path:
    """What is in the file, if it is packed."""
    target = work.place / "unpacked"
    packed = packing(fetched) if request.unpack else None
    if packed is None:
        return fetched
    limits = work.settings.limits
    work.progress.begin("unpack", None)
    unpacked(
        fetched,
        target,
        packed,
        file_bytes=limits.file_bytes,
        expansion=limits.expansion,
        told=work.growing,
    )
    return target
