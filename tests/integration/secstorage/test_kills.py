"""kill -9 before any single thing that a job does to the disk, and a start after it: what was acknowledged
is there, what is listed is whole, and the job ends as it would have."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.unit.secstorage.storage import DISK, Web, configuration, ended, running, serving, submitted, until

_TOUCHING = frozenset(
    {"fsync", "fdatasync", "pwrite", "write", "rename", "replace", "link", "unlink", "rmdir", "mkdir",
     "open", "ftruncate", "truncate", "chmod", "copy_file_range", "execute", "executescript"}
)  # fmt: skip
"""Functions of C by whose name the disk or the journal changes."""
_EVERY = 11
"""One in so many of these, from a different one on in each kind of job: all of them take minutes."""


def in_a_child(work: Callable[[], None], *, killed_at: int) -> int | None:
    """Do it in a process that kills itself before its so-manieth change; how many there were, if so."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        count = 0
        lock = threading.Lock()

        def before(frame: FrameType, event: str, called: Any) -> None:
            nonlocal count
            if (
                event == "c_call"
                and called.__name__ in _TOUCHING
                and "secstorage" in str(frame.f_code.co_filename) + str(getattr(frame.f_back, "f_code", ""))
            ):
                with lock:
                    count += 1
                    if count == killed_at:
                        os.kill(os.getpid(), signal.SIGKILL)

        threading.setprofile(before)
        sys.setprofile(before)
        status = 1
        try:
            work()
            status = 0
        finally:
            sys.setprofile(None)
            os.write(writing, str(count).encode())
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        text = told.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert os.waitstatus_to_exitcode(status) == 0
    return int(text)


REQUESTS: dict[str, dict[str, Any]] = {
    "download": {"entry": {"kind": "template", "id": "t"}},
    "convert": {"source": {"kind": "template", "id": "was"}, "entry": {"kind": "template", "id": "t"},
                "format": "qcow2"},
    "copy": {"from_store": "two", "source": {"kind": "volume", "id": "v"},
             "entry": {"kind": "volume", "id": "t"}, "move": True},
    "delete": {"entry": {"kind": "template", "id": "was"}},
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(REQUESTS))
def test_killed_anywhere(tmp_path: Path, kind: str) -> None:
    with serving(Web()) as web:

        def prepare(place: Path) -> dict[str, Any]:
            place.mkdir()
            configured = configuration(place)
            with running(configured) as scheduler:
                for job, store, name in (("a", "one", ("template", "was")), ("b", "two", ("volume", "v"))):
                    entry = {"kind": name[0], "id": name[1]}
                    submitted(scheduler, job, store=store, kind="download", entry=entry, urls=[web.url])
                    assert ended(scheduler, job)["state"] == "done"
            return configured

        request = {"kind": kind, **REQUESTS[kind], **({"urls": [web.url]} if kind == "download" else {})}
        at = 1 + sorted(REQUESTS).index(kind)
        while True:
            place = tmp_path / str(at)
            configured = prepare(place)

            def work(configured: dict[str, Any] = configured, place: Path = place) -> None:
                with running(configured) as scheduler:
                    submitted(scheduler, "j", **request)
                    (place / "acknowledged").touch()
                    assert ended(scheduler, "j")["state"] == "done"

            finished = in_a_child(work, killed_at=at)
            check(configured, place, kind, request)
            if finished is not None:
                assert finished > 20, "it did change something"
                return
            at += _EVERY


def check(configured: dict[str, Any], place: Path, kind: str, request: dict[str, Any]) -> None:
    with running(configured) as scheduler:
        acknowledged = (place / "acknowledged").exists()
        known = "j" in {job["id"] for job in scheduler.jobs()}
        assert known or not acknowledged, "an acknowledged job is lost"
        for store in scheduler.stores().values():
            for entry in store.entries.values():
                directory = {"template": "template", "volume": "volumes"}[entry["kind"]]
                file = store.settings.path / directory / entry["id"] / entry["file"]
                # A deletion may go on meanwhile.
                gone = (
                    kind == "delete" and not file.exists() and f"template/{entry['id']}" not in store.entries
                )
                assert gone or file.stat().st_size == entry["size"], "what is listed is whole"
        if not known:
            submitted(scheduler, "j", **request)
        assert ended(scheduler, "j")["state"] == "done", scheduler.told("j")
        one = scheduler.stores()["one"].entries
        if kind == "delete":
            assert list(one) == []
            return
        until(lambda: not list((place / "one/.sysvm/jobs").iterdir()))
        name = request["entry"]
        found = one[{"template": "template", "volume": "volumes"}[name["kind"]] + "/t"]
        if kind != "convert":
            content = (
                place / "one" / ("volumes" if kind == "copy" else "template") / "t/disk.raw"
            ).read_bytes()
            assert content == DISK
        assert found["virtual_bytes"] == len(DISK)
        assert ("volumes/v" in scheduler.stores()["two"].entries) == (kind != "copy")
