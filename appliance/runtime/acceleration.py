"""Whether the processor's virtualization works: found out by booting, remembered until the host boots.

That /dev/kvm exists, and that libvirt offers it, doesn't say that a kernel gets through its boot: nested in
another hypervisor it may hang in its first millisecond, at full speed.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
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
        said = trouble(hypervisor, image=image, full=full, kind="kvm", seconds=_PATIENCE)
        chosen = "kvm" if said is None else "qemu"
        if said is not None:
            progress(f"KVM is there, but {said}: machines are emulated")
    disk.write_json(_KNOWN, {**_known(), identity: chosen})
    return chosen


def trouble(hypervisor: Hypervisor, *, image: Disk, full: str, kind: Kind, seconds: float) -> str | None:
    """What keeps a machine from booting so within that time; None where it boots. Raises MachineError where
    that can't be found out."""
    machine = Machine(name="probe", image=Path(image.path), hardware=Hardware(memory=256))
    key = "00000000-0000-4000-8000-73797376616d"
    description = domain(
        machine, full=full, key=key, kind=kind, disks=(replace(image, read_only=True),), log="/dev/null"
    )
    connection = hypervisor.connection
    try:
        probe = connection.createXML(description, libvirt.VIR_DOMAIN_START_AUTODESTROY)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR:
            # QEMU ended, and these are its last words.
            return str(error.get_error_message()).strip().splitlines()[-1]
        raise MachineError(f"What tries {kind} can't be started: {error}") from error
    printed = bytearray()
    # Without an event loop, libvirt hears of what a stream brings only while somebody waits for it.
    reader = Thread(target=_read, args=(connection, probe, printed), daemon=True)
    reader.start()
    reader.join(seconds)
    with suppress(libvirt.libvirtError):
        # Which ends the stream, too.
        probe.destroy()
    reader.join()
    return None if MARK in printed else f"no kernel boots with it in {seconds:g} s"


def _read(connection: Any, probe: Any, printed: bytearray) -> None:
    """Read the console into `printed` until the mark is there, or the end."""
    stream = connection.newStream()
    with suppress(libvirt.libvirtError):
        probe.openConsole(None, stream, 0)
        while MARK not in printed and (read := stream.recv(65536)):
            printed += read


def _known() -> dict[str, Kind]:
    try:
        known: dict[str, Kind] = json.loads(_KNOWN.read_bytes())
    except (OSError, ValueError):
        return {}
    return known
