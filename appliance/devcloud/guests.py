"""The development cloud's guests: Debian's own cloud-init and DHCP client, nothing of ours in them.

All that is set from outside is which data source to ask: a virtual machine is told by its firmware's tables,
as CloudStack's are; a container has none, and gets a file.
"""

import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from appliance.devcloud.layout import GUEST_SEGMENT, GUESTS, Guest
from appliance.runtime.runtime import Hardware, Interface, Machine, MachineError, Runtime

PRODUCT = "CloudStack KVM Hypervisor"
"""By this cloud-init knows CloudStack (its data source's documentation, and ds-identify)."""
DATA_SOURCE = "/etc/cloud/cloud.cfg.d/99-datasource.cfg"


def machine(
    guest: Guest, *, image: Path, segment: str = GUEST_SEGMENT, source: str = "CloudStack"
) -> Machine:
    """A guest as a machine on a guest network, whose cloud-init asks this data source."""
    return Machine(
        name=guest.name,
        image=image,
        interfaces=(Interface(segment=segment, mac=guest.mac),),
        hardware=Hardware(product=PRODUCT if source == "CloudStack" else None),
        files={DATA_SOURCE: f"datasource_list: [ {source} ]\n".encode()},
    )


def up(runtime: Runtime, *, image: Path, guests: Iterable[Guest] = GUESTS) -> list[str]:
    """Power on the guests that are off, and don't wait; their names."""
    started = []
    for guest in guests:
        if not runtime.status(guest.name).running:
            runtime.start(machine(guest, image=image), wait=None)
            started.append(guest.name)
    return started


def wait(runtime: Runtime, name: str, *, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Wait until a guest's cloud-init is done. Its exit status is 0 when all went well, and its output
    says which data source it found. Raises MachineError if the guest doesn't run, TimeoutExpired."""
    deadline = time.monotonic() + timeout * runtime.slowness(name)
    while True:
        try:
            return runtime.run(
                name, ["cloud-init", "status", "--wait", "--long"], timeout=deadline - time.monotonic()
            )
        except MachineError:
            # A virtual machine takes no commands until its agent runs.
            if time.monotonic() > deadline or not runtime.status(name).running:
                raise
        time.sleep(0.5)
