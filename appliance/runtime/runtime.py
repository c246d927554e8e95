"""What it takes to run machines, whatever they run on."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class MachineError(Exception):
    """A machine that didn't do what it was told; the text says which, and what it printed last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interface:
    """A network interface on a segment. `name` is what the machine sees it as before anybody renames it;
    without one it is `ethN`, N being its place in the list."""

    segment: str
    mac: str
    name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Bind:
    """A file or directory of the host in the machine, at the absolute path `target`."""

    source: Path
    target: str
    read_only: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """A machine to run: an appliance or a guest.

    What it writes is lost when it stops, but for `state`, a directory of the host that it has at
    /var/lib/sysvm. `boot` is the credential `sysvm.boot`; `files` are put in read-only, by absolute path.
    """

    name: str
    tree: Path
    interfaces: tuple[Interface, ...] = ()
    boot: bytes | None = field(default=None, repr=False)
    state: Path | None = None
    binds: tuple[Bind, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """`leader` is the machine's process 1, by its number on the host; None where it doesn't run."""

    name: str
    leader: int | None
    console: Path

    @property
    def running(self) -> bool:
        return self.leader is not None


class Runtime(Protocol):
    """Machines of one cloud, by name. Names are unique in a cloud."""

    def start(self, machine: Machine, *, wait: float | None = 60.0) -> None:
        """Power on. With `wait` it returns when the machine has finished booting, within that many seconds;
        with None at once. Raises MachineError when it runs already, ends, or doesn't boot in time."""

    def stop(self, name: str, *, timeout: float = 20.0) -> None:
        """Shut down cleanly, and cut the power after `timeout` seconds. Not running is fine."""

    def kill(self, name: str) -> None:
        """Cut the power: nothing in the machine gets to say goodbye. Not running is fine."""

    def status(self, name: str) -> Status:
        """How a machine is, also one that never was."""

    def names(self) -> list[str]:
        """The machines that run, sorted."""

    def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        timeout: float | None = 60.0,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a machine as root. Raises MachineError where that doesn't run,
        subprocess.TimeoutExpired, and with `check` subprocess.CalledProcessError."""

    def shell(self, name: str) -> int:
        """An interactive shell in a machine, on this terminal; its exit status."""

    def clear(self) -> None:
        """Remove everything of the cloud, whoever left it behind and however."""
