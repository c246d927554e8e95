"""`python3 -m secstorage.mounting FILE`: keep one store mounted, for as long as the process lives.

A mount that answers no more is detached and mounted anew: a server that came back with another file system
(stale handles), or a disk that was plugged in again. Whoever asks the mount may hang in the kernel, so it is
asked by a process of its own, which is given up after a while.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from appliance.agent.notify import notify
from secstorage.identity import USER

log = logging.getLogger("store")
_INTERVAL = 5.0
_MOST_INTERVAL = 60.0
_FAILURES = 3
"""So many looks in a row that go wrong are a mount that has to be made anew."""
_PATIENCE = 30.0


class MountError(Exception):
    """Why it isn't mounted, in a sentence."""


class Mount:
    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.path = Path(settings["path"])
        self._source: str = settings["source"]
        self._type: str = settings["type"]
        self._options: list[str] = settings["options"]
        self._patience: float = settings.get("patience_seconds", _PATIENCE)

    def is_there(self) -> bool:
        """Whether something is mounted there; the file system itself isn't asked."""
        own = str(self.path)
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return any(line.split(" ")[4] == own for line in lines)

    def mount(self) -> None:
        """Raises MountError."""
        self.path.mkdir(parents=True, exist_ok=True)
        argv = ["mount", "-t", self._type, "-o", ",".join(self._options), self._source, str(self.path)]
        self._run(argv)
        # A new file system is root's. On NFS the server decides, and mostly says no.
        found = self.path.stat()
        if found.st_uid == 0 and self._type != "nfs":
            os.chown(self.path, USER, USER)
            self.path.chmod(0o750)

    def answers(self) -> None:
        """Raises MountError."""
        self._run(["stat", "--file-system", str(self.path)])

    def detach(self) -> None:
        """Nobody finds it any more; who still has files of it open gets errors. Raises MountError."""
        if self.is_there():
            self._run(["umount", "--force", "--lazy", str(self.path)])

    def _run(self, argv: list[str]) -> None:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            _, errors = process.communicate(timeout=self._patience + 5)
        except subprocess.TimeoutExpired:
            # In the kernel no signal reaches it: it isn't waited for.
            process.kill()
            raise MountError(f"{argv[0]} has hung for {self._patience + 5:g} s") from None
        if process.returncode:
            words = " ".join(errors.split())[:300]
            raise MountError(f"{argv[0]}: {words or f'status {process.returncode}'}")


class Watchdog:
    """`look` is called again and again; it returns after how many seconds."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._failures = 0
        self._tries = 0
        self.detail = ""

    def look(self) -> float:
        try:
            if not self._mount.is_there():
                self._mount.mount()
                self._tries = 0
            self._mount.answers()
        except (MountError, OSError) as error:
            self._say(str(error))
            return self._failed()
        self._failures = self._tries = 0
        self._say("mounted")
        return _INTERVAL

    def _failed(self) -> float:
        if not self._mount.is_there():
            self._tries += 1
            return min(_MOST_INTERVAL, _INTERVAL * self._tries)
        self._failures += 1
        if self._failures >= _FAILURES:
            self._failures = 0
            try:
                self._mount.detach()
            except (MountError, OSError) as error:
                self._say(str(error))
        return _INTERVAL

    def _say(self, detail: str) -> None:
        if detail != self.detail:
            log.log(logging.INFO if detail == "mounted" else logging.WARNING, "%s", detail)
        self.detail = detail
        notify(f"STATUS={detail}")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    mount = Mount(json.loads(Path(sys.argv[1]).read_bytes()))
    ended = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    watchdog = Watchdog(mount)
    # A server that is away keeps no document from being applied: the store's health says what is the matter.
    notify("READY=1")
    while not ended:
        due = time.monotonic() + watchdog.look()
        while not ended and time.monotonic() < due:
            time.sleep(0.2)
    mount.detach()


if __name__ == "__main__":
    main()
