"""An entry read again, whole: is it still what was put there?"""

from secstorage.storage_server.failure import JobError
from secstorage.storage_server.request import Verify
from secstorage.storage_server.work import Work


def run(work: Work, request: Verify) -> None:
    file, found = work.source(work.store, request.entry)
    try:
        seen = work.digest(file)
    except FileNotFoundError:
        raise JobError("damaged", f"{request.entry} has lost its file") from None
    if seen != found["sha256"]:
        raise JobError("damaged", f"{request.entry} has SHA-256 {seen}, not {found['sha256']}")
    work.finish()
