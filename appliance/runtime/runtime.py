"""What it takes to run machines, whatever they run on."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol


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
class Hardware:
    """What a virtual machine is given; a container has the host's. `memory` is in MiB, `disk` the least size
    of a disk that is written, in MiB. `product` is what its firmware says it is (SMBIOS, System Product
    Name): by that cloud-init chooses whom to ask."""

    memory: int = 512
    cpus: int = 1
    disk: int = 2048
    firmware: Literal["bios", "uefi"] = "bios"
    product: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Bind:
    """A file or directory of the host in the machine, at the absolute path `target`."""

    source: Path
    target: str
    read_only: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """A machine to run: an appliance or a guest.

    `image` is what it runs, a tree for a container and a disk for a virtual machine. What it writes is lost
    when it is started anew, but for /var/lib/sysvm of one that `keeps` it. `boot` is its boot data.
    """

    name: str
    image: Path
    interfaces: tuple[Interface, ...] = ()
    boot: bytes | None = field(default=None, repr=False)
    keeps: bool = False
    hardware: Hardware = Hardware()
    binds: tuple[Bind, ...] = ()
    """Of containers only, as all that follows."""
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Read-only, by absolute path."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """`leader` is the process on this host that the machine ends with, where there is one: a container's
    process 1. `console` is the file with what it printed, on the host where it runs; `display` the VNC
    address of its screen (`vnc://HOST:PORT`), if it has one."""

    name: str
    running: bool
    console: Path
    leader: int | None = None
    display: str | None = None


class Runtime(Protocol):
    """Machines of one cloud, by name. Names are unique in a cloud."""

    def start(self, machine: Machine, *, wait: float | None = 60.0) -> None:
        """Power on. With `wait` it returns when the machine has finished booting, within that many seconds
        (of hardware: an emulated machine gets more); with None at once. Raises MachineError when it runs
        already, ends, or doesn't boot in time."""

    def stop(self, name: str, *, timeout: float = 20.0) -> None:
        """Shut down cleanly, and cut the power after `timeout` seconds. Not running is fine."""

    def kill(self, name: str) -> None:
        """Cut the power: nothing in the machine gets to say goodbye. Not running is fine."""

    def destroy(self, name: str) -> None:
        """Cut the power and remove all that is the machine's, what it kept and its snapshot too."""

    def attach(self, name: str, interface: Interface) -> None:
        """Plug an interface into a running machine. Raises MachineError where that doesn't run or has one
        of this MAC address, ValueError for an unknown segment."""

    def detach(self, name: str, mac: str) -> None:
        """Pull the interface with this MAC address out of a running machine. None there is fine."""

    def snapshot(self, name: str) -> None:
        """Keep what a machine that is off has in /var/lib/sysvm, in place of an older snapshot."""

    def revert(self, name: str) -> None:
        """Give a machine that is off what its snapshot has. Raises MachineError where there is none."""

    def forget_snapshot(self, name: str) -> None:
        """None there is fine."""

    def has_snapshot(self, name: str) -> bool:
        """Whether there is something to revert to."""

    def slowness(self, name: str) -> float:
        """How many times longer things may take in a machine: 1.0, but where it is emulated."""

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
