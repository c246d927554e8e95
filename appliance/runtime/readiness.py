"""Waiting for a container to have booted: sd_notify(3), which nspawn passes on from its process 1."""

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from appliance.runtime.runtime import MachineError, Status

POLL = 0.25


class Readiness:
    """A socket at `path` while in its context."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def __enter__(self) -> "Readiness":
        self.path.unlink(missing_ok=True)
        self.socket.bind(str(self.path))
        self.socket.settimeout(POLL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()
        self.path.unlink(missing_ok=True)

    def of_leader(
        self,
        leader: Callable[[], int | None],
        *,
        alive: Callable[[], object],
        of: Status,
        seconds: float = 20.0,
    ) -> None:
        """Return when there is a process 1. Raises MachineError as `of_boot`."""
        deadline = time.monotonic() + seconds
        while leader() is None:
            if not alive():
                raise MachineError(f"{of.name} ended while starting\n{_end(of.console)}")
            if time.monotonic() > deadline:
                raise MachineError(f"{of.name} has no process 1 after {seconds:g} s\n{_end(of.console)}")
            time.sleep(0.01)

    def of_boot(self, seconds: float, *, alive: Callable[[], object], of: Status) -> None:
        """Return at READY=1. Raises MachineError with the console's end if that doesn't come in time, or
        nothing is alive any more that could send it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in self.socket.recv(4096).split(b"\n"):
                    return
            if not alive():
                raise MachineError(f"{of.name} ended while booting\n{_end(of.console)}")
        raise MachineError(f"{of.name} has not booted after {seconds:g} s\n{_end(of.console)}")


def _end(console: Path) -> str:
    try:
        return "\n".join(console.read_text(errors="replace").splitlines()[-20:])
    except OSError:
        return ""
