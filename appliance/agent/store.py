"""The document that survives: the last one that was applied and verified, on the state partition.

A whole document replaces the file; a merge patch is one more line in a journal beside it, so that one item
more costs one small write at any size. What is not verified yet is never what a restart finds.
"""

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import Any

from appliance import disk
from appliance.agent.storage import require_room
from appliance.model import merge_patch

_MOST_PATCHES = 200


class Store:
    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._document = directory / "document.json"
        self._candidate = directory / "document.candidate"
        self._patches = directory / "patches.jsonl"
        self._id = self._candidate_id = ""
        self._count = 0

    def load(self) -> Any | None:
        """The stored document as JSON values, or None before the first. Raises OSError, and ValueError where
        it is damaged."""
        if not self._document.exists():
            return None
        stored = json.loads(self._document.read_bytes())
        if not isinstance(stored, dict) or not {"document", "id"} <= stored.keys():
            raise ValueError(f"{self._document} holds no document")
        document = stored["document"]
        self._id = stored["id"]
        for patch in self._read_patches():
            document = merge_patch(document, patch)
        return document

    def prepare(self, document: Any) -> None:
        """Write a candidate, so that a full disk shows before anything is touched. Raises OSError."""
        require_room(self._directory)
        self._candidate_id = os.urandom(8).hex()
        try:
            disk.write_json(self._candidate, {"id": self._candidate_id, "document": document})
        except OSError:
            self.discard()
            raise

    def commit(self) -> None:
        """Make the candidate the stored document."""
        self._candidate.replace(self._document)
        disk.sync_directory(self._directory)
        # Patches name the document they belong to, so a crash before this line does no harm.
        disk.remove(self._patches)
        self._id, self._count = self._candidate_id, 0

    def write(self, document: Any) -> None:
        self.prepare(document)
        self.commit()

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._candidate.unlink()

    def append(self, patch: Any) -> None:
        """Keep a merge patch of the stored document. Raises OSError, and then nothing was kept."""
        require_room(self._directory)
        line = json.dumps({"of": self._id, "patch": patch}, separators=(",", ":")).encode() + b"\n"
        descriptor = os.open(self._patches, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(errno.ENOSPC, "No room for the whole of a patch")
                os.fsync(descriptor)
                if size == 0:
                    disk.sync_directory(self._directory)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        self._count += 1

    def compact(self) -> None:
        """Fold a long journal into the document."""
        if self._count > _MOST_PATCHES:
            self.write(self.load())

    def _read_patches(self) -> list[Any]:
        patches: list[Any] = []
        journal = b""
        with contextlib.suppress(FileNotFoundError):
            journal = self._patches.read_bytes()
        whole = 0
        for line in journal.splitlines(keepends=True):
            try:
                entry = json.loads(line) if line.endswith(b"\n") else {}
                owner, patch = entry["of"], entry["patch"]
            except (ValueError, TypeError, KeyError):
                # Torn by a power cut before it was acknowledged. What comes next mustn't be behind it.
                os.truncate(self._patches, whole)
                break
            whole += len(line)
            if owner == self._id:
                patches.append(patch)
        self._count = len(patches)
        return patches
