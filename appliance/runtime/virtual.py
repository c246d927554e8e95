"""Virtual machines through libvirt: the runtime for hypervisors (`runtime.Runtime`).

A machine is a domain, `sysvm-CLOUD-NAME`, and volumes of that name: `-disk` where it writes what it boots
from, `-boot` with its boot data, `-state` with what it keeps. Nothing is remembered here: libvirt does.
"""

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree.ElementTree import tostring

from appliance.runtime import acceleration, config_disk, console, domain, guest_agent
from appliance.runtime.binding import libvirt
from appliance.runtime.domain import STATE_SERIAL, Disk, Kind
from appliance.runtime.hypervisor import Hypervisor, parsed, said
from appliance.runtime.naming import cloud_prefix, full_name
from appliance.runtime.runtime import Interface, Machine, MachineError, Status
from appliance.runtime.storage import Storage

STATE_SIZE = 512
"""MiB of a new state disk; it takes what is written to it."""
_LOGS = Path("/var/log/libvirt/qemu")
SOCKET = "/run/libvirt/libvirt-sock"


class VirtualMachines:
    """The virtual machines of one cloud on one hypervisor. A segment is a bridge of that host, or
    `network:NAME` a network of libvirt's."""

    def __init__(
        self,
        cloud: str,
        *,
        uri: str = "qemu:///system",
        progress: Callable[[str], None] = lambda step: None,
    ) -> None:
        self.cloud = cloud
        self.prefix = cloud_prefix(cloud)
        self.hypervisor = Hypervisor(uri=uri)
        self.storage = Storage(hypervisor=self.hypervisor)
        self.progress = progress
        self._kind: Kind | None = None

    def define(self, machine: Machine) -> None:
        """Have a machine as described, switched off: a definition that is there is replaced, what it wrote
        is lost but for what it keeps. Raises MachineError when it runs, or can't be defined."""
        full = full_name(self.cloud, machine.name)
        if self.status(machine.name).running:
            raise MachineError(f"{machine.name} runs already")
        image = self.storage.image(machine.image)
        key = str(uuid.uuid5(uuid.NAMESPACE_DNS, full))
        kind = self.kind(image)
        disks = self._disks(machine, full, image)
        description = domain.domain(machine, full=full, key=key, kind=kind, disks=disks, log=str(_log(full)))
        with said(f"{machine.name} can't be defined"):
            self.hypervisor.connection.defineXML(description)

    def kind(self, image: str) -> Kind:
        """How machines run on this host; the first time a machine of this image tries."""
        if self._kind is None:
            disk = self.storage.disk(image, read_only=True)
            full = full_name(self.cloud, "probe")
            self._kind = acceleration.kind(self.hypervisor, image=disk, full=full, progress=self.progress)
        return self._kind

    def _disks(self, machine: Machine, full: str, image: str) -> tuple[Disk, ...]:
        if machine.keeps:
            # An appliance doesn't write what it boots from: all of an image share the one volume.
            disks = [self.storage.disk(image, read_only=True)]
            self.storage.blank(f"{full}-state", size=STATE_SIZE)
            disks.append(self.storage.disk(f"{full}-state", serial=STATE_SERIAL))
        else:
            self.storage.overlay(f"{full}-disk", image=image, size=machine.hardware.disk)
            disks = [self.storage.disk(f"{full}-disk")]
        if machine.boot is not None:
            # Not as a firmware string: those are on a command line that every user of the host sees.
            self.storage.write(f"{full}-boot", config_disk.image(machine.boot))
            disks.append(self.storage.disk(f"{full}-boot", form="raw", read_only=True))
        return tuple(disks)

    def start(self, machine: Machine, *, wait: float | None = 60.0) -> None:
        self.define(machine)
        found = self._domain(machine.name)
        with said(f"{machine.name} can't be started"):
            found.create()
        if wait is not None:
            self.wait(machine.name, seconds=wait)

    def wait(self, name: str, *, seconds: float) -> None:
        """Return when a machine has finished booting; an emulated one gets longer. Raises MachineError."""
        allowed = seconds * self.slowness(name)
        deadline = time.monotonic() + allowed
        found = self._domain(name)
        while not guest_agent.answers(found):
            self._still_booting(name, deadline, allowed)
            time.sleep(0.5)
        with suppress(subprocess.TimeoutExpired):
            # Also ends when something has failed, which is what `degraded` says.
            self.run(name, ["systemctl", "is-system-running", "--wait"], timeout=deadline - time.monotonic())
        self._still_booting(name, deadline, allowed)

    def _still_booting(self, name: str, deadline: float, allowed: float) -> None:
        if not self.status(name).running:
            raise MachineError(f"{name} ended while booting{self._last_words(name)}")
        if time.monotonic() > deadline:
            raise MachineError(f"{name} has not booted after {allowed:g} s{self._last_words(name)}")

    def _last_words(self, name: str) -> str:
        elsewhere = urlsplit(self.hypervisor.uri).hostname
        try:
            printed = "" if elsewhere else self.status(name).console.read_text(errors="replace")
        except OSError:
            printed = ""
        if not printed:
            return f"; see its console on {elsewhere or self.hypervisor.uri}"
        return "\n" + "\n".join(printed.splitlines()[-20:])

    def slowness(self, name: str) -> float:
        with said(name):
            kind = parsed(self._domain(name).XMLDesc()).get("type")
        return acceleration.EMULATED_FACTOR if kind == "qemu" else 1.0

    # --- power --------------------------------------------------------------------------------------

    def stop(self, name: str, *, timeout: float = 20.0) -> None:
        if not self.status(name).running:
            return
        found = self._domain(name)
        with suppress(libvirt.libvirtError):
            found.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
        deadline = time.monotonic() + timeout * self.slowness(name)
        while self.status(name).running and time.monotonic() < deadline:
            time.sleep(0.1)
        self.kill(name)

    def kill(self, name: str) -> None:
        found = self.hypervisor.domain(full_name(self.cloud, name))
        if found is not None:
            with suppress(libvirt.libvirtError):
                # Raises where it has ended meanwhile.
                found.destroy()
            if self.status(name).running:
                raise MachineError(f"{name} can't be ended")

    def destroy(self, name: str) -> None:
        self.kill(name)
        full = full_name(self.cloud, name)
        found = self.hypervisor.domain(full)
        if found is not None:
            with said(f"{name} can't be removed"):
                found.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
        for part in ("disk", "boot", "state", "snapshot"):
            self.storage.remove(f"{full}-{part}")

    # --- interfaces ---------------------------------------------------------------------------------

    def attach(self, name: str, interface: Interface) -> None:
        found = self._running(name)
        if self._interface(found, interface.mac) is not None:
            raise MachineError(f"{name} has an interface with {interface.mac}")
        kind: Any = parsed(found.XMLDesc()).get("type")
        description = tostring(domain.interface(interface, kind=kind), encoding="unicode")
        with said(f"{name} doesn't take {interface.mac} on {interface.segment}"):
            found.attachDeviceFlags(description, _LIVE_AND_KEPT)

    def detach(self, name: str, mac: str) -> None:
        found = self._running(name)
        description = self._interface(found, mac)
        if description is None:
            return
        with said(f"{name} doesn't let go of {mac}"):
            found.detachDeviceFlags(description, _LIVE_AND_KEPT)
        deadline = time.monotonic() + 10.0 * self.slowness(name)
        # The machine is asked to let go, and answers when it can.
        while self._interface(found, mac) is not None:
            if time.monotonic() > deadline:
                raise MachineError(f"{name} doesn't let go of {mac}")
            time.sleep(0.1)

    def _interface(self, found: Any, mac: str) -> str | None:
        with said(f"{found.name()} doesn't show its interfaces"):
            for each in parsed(found.XMLDesc()).iterfind("devices/interface"):
                address = each.find("mac")
                if address is not None and address.get("address") == mac.lower():
                    return tostring(each, encoding="unicode")
        return None

    # --- what it keeps ------------------------------------------------------------------------------

    def snapshot(self, name: str) -> None:
        full = self._off(name)
        self.storage.blank(f"{full}-state", size=STATE_SIZE)
        self.storage.copy(f"{full}-state", f"{full}-snapshot")

    def revert(self, name: str) -> None:
        full = self._off(name)
        if not self.has_snapshot(name):
            raise MachineError(f"{name} has no snapshot")
        self.storage.copy(f"{full}-snapshot", f"{full}-state")
        self.storage.remove(f"{full}-snapshot")

    def forget_snapshot(self, name: str) -> None:
        self.storage.remove(f"{full_name(self.cloud, name)}-snapshot")

    def has_snapshot(self, name: str) -> bool:
        return self.storage.exists(f"{full_name(self.cloud, name)}-snapshot")

    # --- how it is ----------------------------------------------------------------------------------

    def status(self, name: str) -> Status:
        full = full_name(self.cloud, name)
        found = self.hypervisor.domain(full)
        log = root(self.hypervisor.uri) / _log(full).relative_to("/")
        if found is None:
            return Status(name=name, running=False, console=log)
        with said(name):
            running = bool(found.isActive())
            graphics = parsed(found.XMLDesc()).find("devices/graphics") if running else None
        display = None
        if graphics is not None:
            display = f"vnc://{graphics.get('listen') or '127.0.0.1'}:{graphics.get('port')}"
        return Status(name=name, running=running, console=log, display=display)

    def names(self) -> list[str]:
        full = self.hypervisor.domains(self.prefix)
        names = [each.removeprefix(self.prefix) for each in full]
        return [name for name in names if self.status(name).running]

    def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        timeout: float | None = 60.0,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        found = self._running(name)
        with said(f"{name}: no command runs in it"):
            done = guest_agent.run(found, argv, stdin=stdin, timeout=timeout)
        if check:
            done.check_returncode()
        return done

    def shell(self, name: str) -> int:
        """Its serial console, where whoever has a password logs in; Ctrl-] leaves it."""
        sys.stdout.flush()
        return console.attach(self.hypervisor.connection, self._running(name))

    def clear(self) -> None:
        for full in self.hypervisor.domains(self.prefix):
            self.destroy(full.removeprefix(self.prefix))
        self.storage.clear(self.prefix)

    def _domain(self, name: str) -> Any:
        found = self.hypervisor.domain(full_name(self.cloud, name))
        if found is None:
            raise MachineError(f"There is no machine {name} on {self.hypervisor.uri}")
        return found

    def _running(self, name: str) -> Any:
        found = self.hypervisor.domain(full_name(self.cloud, name))
        if found is None or not found.isActive():
            raise MachineError(f"{name} doesn't run")
        return found

    def _off(self, name: str) -> str:
        if self.status(name).running:
            raise MachineError(f"{name} runs: a snapshot is of a machine that is off")
        return full_name(self.cloud, name)


def root(uri: str) -> Path:
    """Below which a libvirtd has its files: one that isn't the host's own tells by where its socket is."""
    (socket, *_) = parse_qs(urlsplit(uri).query).get("socket", [""])
    return Path(socket.removesuffix(SOCKET) or "/")


def _log(full: str) -> Path:
    return _LOGS / f"{full}-console.log"


_LIVE_AND_KEPT = 3
"""VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG: in the machine that runs, and in its next start."""
