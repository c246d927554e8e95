"""Whether the processor's virtualization works: found out by booting, remembered until the host boots.

That /dev/kvm exists, and that libvirt offers it, doesn't say that a kernel gets through its boot: nested in
another hypervisor it may hang in its first millisecond, at full speed.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance import disk
from appliance.runtime.binding import libvirt
from appliance.runtime.domain import Disk, Kind, domain
from appliance.runtime.hypervisor import Hypervisor
from appliance.runtime.naming import RUN
from appliance.runtime.runtime import Hardware, Machine, MachineError

MARK = b"sysvm: kernel is up"
"""What the initrd of our images writes to the serial console before anything else."""
_PATIENCE = 20.0
_KNOWN = RUN / "acceleration.json"
EMULATED_FACTOR = 8.0
"""How much longer things may take under emulation."""


def kind(hypervisor: Hypervisor, *, image: Disk, full: str, progress: Callable[[str], None]) -> Kind:
    """How machines are to run on this host: emulated where a machine from `image` doesn't boot otherwise.

    `full` is a name for the machine that tries. Raises MachineError where nothing runs them.
    """
    if hypervisor.is_xen:
        return "xen"
    known = _known()
    identity = hypervisor.identity()
    if identity in known:
        return known[identity]
    chosen: Kind = "qemu"
    if not hypervisor.offers("kvm"):
        progress("this host has no KVM: machines are emulated")
    else:
        progress("seeing whether a kernel boots with KVM")
        trouble = _trouble(hypervisor, image=image, full=full)
        chosen = "kvm" if trouble is None else "qemu"
        if trouble is not None:
            progress(f"KVM is there, but {trouble}: machines are emulated")
    disk.write_json(_KNOWN, {**_known(), identity: chosen})
    return chosen


def _trouble(hypervisor: Hypervisor, *, image: Disk, full: str) -> str | None:
    """What keeps a machine from booting with KVM; None where it boots."""
    machine = Machine(name="probe", image=Path(image.path), hardware=Hardware(memory=256))
    key = "00000000-0000-4000-8000-73797376616d"
    description = domain(
        machine, full=full, key=key, kind="kvm", disks=(replace(image, read_only=True),), log="/dev/null"
    )
    connection = hypervisor.connection
    try:
        probe = connection.createXML(description, libvirt.VIR_DOMAIN_START_AUTODESTROY)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR:
            # QEMU ended, and these are its last words.
            return str(error.get_error_message()).strip().splitlines()[-1]
        raise MachineError(f"What tries KVM can't be started: {error}") from error
    try:
        if _prints(connection, probe, deadline=time.monotonic() + _PATIENCE):
            return None
        return f"no kernel boots with it in {_PATIENCE:g} s"
    finally:
        with suppress(libvirt.libvirtError):
            probe.destroy()


def _prints(connection: Any, probe: Any, *, deadline: float) -> bool:
    stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
    printed = b""
    with suppress(libvirt.libvirtError):
        probe.openConsole(None, stream, 0)
        while time.monotonic() < deadline:
            read = stream.recv(65536)
            if read == b"":
                return False
            # Nothing to read is a number below zero.
            if isinstance(read, int):
                time.sleep(0.1)
                continue
            printed = printed[-200:] + read
            if MARK in printed:
                return True
    return False


def _known() -> dict[str, Kind]:
    try:
        known: dict[str, Kind] = json.loads(_KNOWN.read_bytes())
    except (OSError, ValueError):
        return {}
    return known
