"""What time does: lifecycle rules are applied, and remains of what never finished are removed.

Any number of daemons may do it at once, each once in an interval: all is done under the locks of the
objects.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from math import floor
from typing import Any

from secstorage.s3.store import objects, uploads, versions
from secstorage.s3.store.bucket import Bucket, Store
from secstorage.s3.store.objects import Object
from secstorage.s3.store.walk import walk

_DAY = 86_400
_REMAINS_SECONDS = 2 * _DAY
_FIRST_SECONDS = 60.0


class Sweeper(threading.Thread):
    def __init__(self, store: Store, seconds: float) -> None:
        super().__init__(name="sweep", daemon=True)
        self._store = store
        self._seconds = seconds

    def run(self) -> None:
        time.sleep(min(self._seconds, _FIRST_SECONDS))
        while True:
            try:
                sweep(self._store, now=time.time())
            except Exception:
                traceback.print_exc()
            time.sleep(self._seconds)


def sweep(store: Store, *, now: float) -> None:
    """Once through all buckets."""
    for bucket in store.buckets():
        try:
            _remains(bucket, now)
            for rule in bucket.settings.lifecycle:
                if rule["status"] == "Enabled":
                    _apply(bucket, rule, now)
        except Exception:
            # One bucket that can't be read is no reason to leave out the others.
            print(f"bucket {bucket.name}:", file=sys.stderr)
            traceback.print_exc()


def _remains(bucket: Bucket, now: float) -> None:
    where = bucket.full(b".s3/temporary")
    with suppress(FileNotFoundError):
        for name in os.listdir(where):
            path = where + b"/" + name
            with suppress(FileNotFoundError):
                if os.lstat(path).st_mtime < now - _REMAINS_SECONDS:
                    os.unlink(path)


def due(since: float, days: int, now: float) -> bool:
    """S3 counts from the midnight (UTC) after so many days."""
    return now >= (floor((since + days * _DAY) / _DAY) + 1) * _DAY


def _fits(rule: Mapping[str, Any], found: Object) -> bool:
    tags = rule.get("tags", {})
    return (
        found.size > rule.get("greater", -1)
        and found.size < rule.get("less", float("inf"))
        and all(found.record.tags.get(name) == value for name, value in tags.items())
    )


def _apply(bucket: Bucket, rule: Mapping[str, Any], now: float) -> None:
    prefix = rule.get("prefix", "")
    if "days" in rule or ("date" in rule and now >= rule["date"]):
        for found in walk(bucket.path, prefix=prefix):
            known = objects.peek(bucket, found.key)
            if known is None or not _fits(rule, known) or not _expired(rule, known, now):
                continue

            def same(current: Object | None, known: Object = known) -> None:
                # Written anew since: then it isn't old.
                if current is None or current.found.st_mtime_ns != known.found.st_mtime_ns:
                    raise _ChangedError

            with suppress(_ChangedError):
                objects.delete(bucket, found.key, condition=same)
    if "noncurrent_days" in rule or rule.get("markers"):
        for found in walk(bucket.full(versions.TOP), prefix=prefix, versions=True):
            _expire_versions(bucket, rule, found.key, now)
    if "abort_days" in rule:
        for upload in uploads.all_of(bucket):
            if upload.key.startswith(prefix) and due(upload.initiated, rule["abort_days"], now):
                uploads.abort(bucket, upload)


class _ChangedError(Exception):
    pass


def _expired(rule: Mapping[str, Any], known: Object, now: float) -> bool:
    return "date" in rule or due(known.modified, rule["days"], now)


def _expire_versions(bucket: Bucket, rule: Mapping[str, Any], key: str, now: float) -> None:
    with bucket.alone(key):
        current = objects.peek(bucket, key)
        found = versions.noncurrent(bucket, key)
        latest = found[0] if found and current is None else None
        if "noncurrent_days" in rule:
            # A version is noncurrent since the one after it came.
            since = current.modified if current else now
            for number, version in enumerate(found):
                stats = bucket.lstat(version.path)
                if stats is None:
                    continue
                if version is not latest:
                    newer = number - (1 if latest else 0)
                    if newer >= rule.get("newer", 0) and due(since, rule["noncurrent_days"], now):
                        bucket.remove(version.path)
                since = stats.st_mtime
            found = versions.noncurrent(bucket, key)
        # A marker that hides nothing any more.
        if rule.get("markers") and current is None and len(found) == 1 and found[0].marker:
            bucket.remove(found[0].path)
