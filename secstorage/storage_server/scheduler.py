"""Which job is at work when: the stores' journals say what there is to do, threads do it."""

import logging
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from secstorage.download.rate import Bucket
from secstorage.download.url import check
from secstorage.storage_server import convert_job, copy_job, delete_job, download_job, journal, verify_job
from secstorage.storage_server.failure import CancelledError, JobError, StoppedError
from secstorage.storage_server.journal import ENDED, Job, LeaseLostError
from secstorage.storage_server.request import Convert, Copy, Delete, Download, Request, Submission, Verify
from secstorage.storage_server.settings import Settings
from secstorage.storage_server.store import Store, UnavailableError
from secstorage.storage_server.work import Work

log = logging.getLogger(__name__)
_TEND_SECONDS = 5.0
_MOST_ATTEMPTS = 5
_MOST_WAIT = 300.0


class RefusedJobError(Exception):
    """What can't be done: a word, a sentence, whether it is because of what is there already."""

    def __init__(self, code: str, detail: str, *, conflict: bool = False) -> None:
        super().__init__(detail)
        self.code = code
        self.conflict = conflict


class Scheduler:
    """`owner` is this appliance in this boot, for the leases."""

    def __init__(self, settings: Settings, owner: str) -> None:
        self._settings = settings
        self._owner = owner
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)
        self._stores: dict[str, Store] = {}
        self._jobs: dict[str, tuple[Store, Job]] = {}
        self._work: dict[str, Work] = {}
        self._leaving: set[str] = set()
        self._stopping = False
        self._bucket = Bucket(settings.limits.download_bytes_per_second)
        self._threads: list[threading.Thread] = []
        self._tending: list[threading.Thread] = []
        self.change(settings)

    def change(self, settings: Settings) -> None:
        """Stores come and go; the jobs at work on those that stay don't notice."""
        with self._news:
            self._settings = settings
            self._bucket.change(settings.limits.download_bytes_per_second)
            for name, item in settings.stores.items():
                known = self._stores.get(name)
                if known is not None and known.settings.path == item.path:
                    known.settings = item
                elif known is None:
                    # What isn't mounted nobody else can have, so its lease outlives a boot.
                    owner = self._owner if item.mounted else settings.appliance
                    self._stores[name] = store = Store(name, item, owner)
                    tending = threading.Thread(target=self._tend, args=(store,), name=name, daemon=True)
                    self._tending = [each for each in self._tending if each.is_alive()] + [tending]
                    tending.start()
            for name, store in self._stores.items():
                if name not in settings.stores:
                    store.removal.set()
            self._news.notify_all()

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; returns once no job is at work and the leases are given back."""
        while not stop.is_set():
            with self._news:
                self._begin_jobs()
                self._news.wait(0.5)
        with self._news:
            self._stopping = True
            work = list(self._threads)
        for thread in work:
            thread.join()
        for store in list(self._stores.values()):
            store.removal.set()
        end = time.monotonic() + _TEND_SECONDS
        for thread in self._tending:
            thread.join(max(0.0, end - time.monotonic()))
        for store in list(self._stores.values()):
            store.release()

    def wake(self) -> None:
        with self._news:
            self._news.notify_all()

    # What the API asks.

    def stores(self) -> dict[str, Store]:
        with self._lock:
            return dict(self._stores)

    def submit(self, job: str, request: Request) -> tuple[dict[str, Any], bool]:
        """A new job, or the one that there is by this id, and whether it is new. On the disk when it
        returns. Raises RefusedJobError, UnavailableError."""
        content = request.model_dump(mode="json", exclude_defaults=True)
        content |= {"kind": request.kind, "priority": request.priority}
        with self._news:
            if known := self._jobs.get(job):
                if known[1].request != content:
                    raise RefusedJobError("other-job", f"There is another job {job}", conflict=True)
                return self.told(job), False
            store = self._stores.get(request.store)
            if store is None:
                raise RefusedJobError("no-store", f"There is no store {request.store}")
            self._allowed(store, request)
            found = journal.new(job, content)
            store.journal.add(found)
            self._jobs[job] = store, found
            self._news.notify_all()
            return self.told(job), True

    def _allowed(self, store: Store, request: Request) -> None:
        state = store.settings.state
        if state == "read_only" and not isinstance(request, Verify):
            raise RefusedJobError("read-only", f"Store {store.name} is read-only", conflict=True)
        if state == "draining" and not isinstance(request, Verify | Delete):
            raise RefusedJobError(
                "draining", f"Store {store.name} is draining: nothing comes", conflict=True
            )
        if isinstance(request, Download | Convert | Copy) and request.entry.place in store.entries:
            raise RefusedJobError("exists", f"There is a {request.entry} already", conflict=True)
        if isinstance(request, Copy) and request.from_store == request.store:
            raise RefusedJobError("same-store", "It is on this store")

    def told(self, job: str) -> dict[str, Any]:
        """Raises KeyError."""
        with self._lock:
            store, found = self._jobs[job]
            work = self._work.get(job)
        told: dict[str, Any] = {
            "id": found.id,
            "store": store.name,
            "state": found.state,
            "request": _shown(found.request),
            "created": found.created,
            "started": found.started,
            "ended": found.ended,
            "attempts": found.attempts,
        }
        if found.code:
            told["error"] = {"code": found.code, "detail": found.detail}
        if work is not None:
            told["progress"] = work.progress.as_json()
        if found.wanted and found.state not in ENDED:
            told["wanted"] = found.wanted
        return told

    def jobs(self) -> list[dict[str, Any]]:
        """The newest last."""
        with self._lock:
            return [self.told(job) for job in sorted(self._jobs, key=lambda job: self._jobs[job][1].created)]

    def cancel(self, job: str) -> dict[str, Any]:
        """Raises KeyError, RefusedJobError, UnavailableError."""
        with self._news:
            store, found = self._jobs[job]
            if found.state == "cancelled":
                return self.told(job)
            if found.state in ENDED:
                raise RefusedJobError("ended", f"Job {job} is {found.state}", conflict=True)
            over = {} if job in self._work else {"state": "cancelled", "ended": time.time()}
            store.journal.update(found, wanted="cancelled", **over)
            if found.state in ENDED:
                store.clear(job)
            return self.told(job)

    def retry(self, job: str) -> dict[str, Any]:
        """An ended job that isn't done waits again; what it had fetched it goes on with."""
        with self._news:
            store, found = self._jobs[job]
            if found.state not in ("failed", "cancelled"):
                raise RefusedJobError("not-failed", f"Job {job} is {found.state}", conflict=True)
            anew: dict[str, Any] = {} if store.work(job).exists() else {"checkpoint": {}}
            again = {"state": "waiting", "wanted": "", "ended": None, "attempts": 0, "not_before": 0.0}
            store.journal.update(found, code="", detail="", **again, **anew)
            self._news.notify_all()
            return self.told(job)

    def prioritise(self, job: str, priority: int) -> dict[str, Any]:
        with self._news:
            store, found = self._jobs[job]
            store.journal.update(found, priority=priority)
            self._news.notify_all()
            return self.told(job)

    def forget(self, job: str) -> None:
        with self._lock:
            store, found = self._jobs[job]
            if found.state not in ENDED:
                raise RefusedJobError("not-ended", f"Job {job} is {found.state}", conflict=True)
            self._forget(store, job)

    def _forget(self, store: Store, job: str) -> None:
        store.journal.forget(job)
        store.clear(job)
        del self._jobs[job]

    # Stores.

    def _tend(self, store: Store) -> None:
        while True:
            if store.removal.is_set():
                if self._stopping or self._gone(store):
                    return
            elif store.tend():
                self._opened(store)
            store.removal.wait(0.2 if store.removal.is_set() else _TEND_SECONDS)

    def _opened(self, store: Store) -> None:
        """Jobs that were at work, here or on an appliance that is no more, wait again."""
        try:
            jobs = store.journal.jobs()
            with self._news:
                for job in jobs:
                    if job.id in self._work:
                        continue
                    if job.state == "running":
                        store.journal.update(job, state="cancelled" if job.wanted else "waiting")
                    self._jobs[job.id] = store, job
                self._sweep(store)
                store.is_ready = True
                log.info("Store %s is open", store.name)
                self._news.notify_all()
        except (UnavailableError, LeaseLostError, sqlite3.Error, OSError) as error:
            log.warning("Store %s: %s", store.name, error)
            store.close()

    def _sweep(self, store: Store) -> None:
        """What jobs left that are over."""
        for path in [*(store.own / "jobs").iterdir(), *(store.own / "trash").iterdir()]:
            known = self._jobs.get(path.name)
            if known is None or known[1].state in ("done", "cancelled"):
                store.clear(path.name)

    def _gone(self, store: Store) -> bool:
        """Whether nothing of a store that isn't the document's any more is at work."""
        with self._lock:
            if any(work.store is store for work in self._work.values()):
                return False
            store.release()
            self._stores.pop(store.name, None)
            self._jobs = {job: item for job, item in self._jobs.items() if item[0] is not store}
            # It may have come again meanwhile.
            self.change(self._settings)
            return True

    # Jobs.

    def _begin_jobs(self) -> None:
        now = time.time()
        busy = Counter(work.store.name for work in self._work.values())
        waiting = [
            (-job.priority, job.created, job.id)
            for store, job in self._jobs.values()
            if job.state == "waiting"
            and job.not_before <= now
            and store.is_open
            and not store.removal.is_set()
        ]
        for _, _, job_id in sorted(waiting):
            if len(self._work) >= self._settings.limits.jobs_at_once:
                return
            store, job = self._jobs[job_id]
            if busy[store.name] < store.settings.jobs_at_once and not self._is_taken(store, job):
                busy[store.name] += 1
                self._begin(store, job)

    def _is_taken(self, store: Store, job: Job) -> bool:
        """Whether another job is at work on one of its entries."""
        own = _entries(store.name, job.request)
        return any(own & _entries(work.store.name, work.job.request) for work in self._work.values())

    def _begin(self, store: Store, job: Job) -> None:
        stopping: Callable[[], bool] = lambda: self._stopping or store.removal.is_set()  # noqa: E731
        work = Work(job, store, self.stores, lambda: self._settings, self._bucket, stopping)
        self._work[job.id] = work
        thread = threading.Thread(target=self._run, args=(work,), name=f"job {job.id}")
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _run(self, work: Work) -> None:
        job = work.job
        try:
            started = job.started or time.time()
            work.store.journal.update(job, state="running", started=started, attempts=job.attempts + 1)
            _perform(work)
            log.info("Job %s is done", job.id)
        except (StoppedError, UnavailableError, LeaseLostError):
            job.state, job.attempts = "waiting", job.attempts - 1
        except CancelledError:
            self._ended(work, "cancelled", "cancelled", "Somebody didn't want it any more")
        except JobError as error:
            self._ended(work, "failed", error.code, error.detail)
        except (OSError, sqlite3.Error) as error:
            self._again(work, error)
        except Exception:
            log.exception("Job %s", job.id)
            self._ended(work, "failed", "internal", "The daemon has a fault; its log says more")
        finally:
            if job.state in ("done", "cancelled"):
                work.store.clear(job.id)
            with self._news:
                self._work.pop(job.id, None)
                self._keep_few(work.store)
                self._news.notify_all()

    def _again(self, work: Work, error: Exception) -> None:
        """The store may be as it should in a moment."""
        job = work.job
        if job.attempts >= _MOST_ATTEMPTS:
            self._ended(work, "failed", "store-failed", str(error))
            return
        log.warning("Job %s, again: %s", job.id, error)
        wait = min(_MOST_WAIT, 2.0**job.attempts) * random.uniform(0.5, 1)  # noqa: S311
        detail = {"code": "store-failed", "detail": str(error)}
        self._note(work, state="waiting", not_before=time.time() + wait, **detail)

    def _ended(self, work: Work, state: journal.State, code: str, detail: str) -> None:
        if state == "failed":
            log.warning("Job %s has failed: %s", work.job.id, detail)
        self._note(work, state=state, code=code, detail=detail, ended=time.time())

    def _note(self, work: Work, **changes: Any) -> None:
        try:
            work.store.journal.update(work.job, **changes)
        except (UnavailableError, LeaseLostError, sqlite3.Error, OSError) as error:
            # It is found out again, once the store is back.
            log.warning("Job %s: %s", work.job.id, error)
            work.job.state = "waiting"

    def _keep_few(self, store: Store) -> None:
        over = [job for kept, job in self._jobs.values() if kept is store and job.state in ENDED]
        for job in sorted(over, key=lambda job: job.ended or 0.0)[: -self._settings.limits.jobs_kept]:
            try:
                self._forget(store, job.id)
            except (UnavailableError, LeaseLostError, sqlite3.Error, OSError):
                return


def _perform(work: Work) -> None:
    request = Submission.model_validate({"job": work.job.request}).job
    match request:
        case Download():
            download_job.run(work, request)
        case Convert():
            convert_job.run(work, request)
        case Copy():
            copy_job.run(work, request)
        case Verify():
            verify_job.run(work, request)
        case Delete():
            delete_job.run(work, request)


def _entries(store: str, request: dict[str, Any]) -> set[tuple[str, str, str]]:
    found = set()
    for place, at in (("entry", store), ("source", request.get("from_store", store))):
        if name := cast("dict[str, str] | None", request.get(place)):
            found.add((at, name["kind"], name["id"]))
    return found


def _shown(request: dict[str, Any]) -> dict[str, Any]:
    """What is behind a URL's question mark may be a signature."""
    urls = [check(url).shown for url in request.get("urls", [])]
    return request | ({"urls": urls} if urls else {})
