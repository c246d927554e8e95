"""The development cloud's guests: Debian's own cloud-init and DHCP client, nothing of ours in them.

All that is set from outside is which data source to ask, as an image for a CloudStack cloud has it; a
machine would be told by its firmware's tables, which a container doesn't have.
"""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from appliance.devcloud.layout import GUEST_SEGMENT, GUESTS, Guest
from appliance.runtime.runtime import Interface, Machine, Runtime

DATA_SOURCE = "/etc/cloud/cloud.cfg.d/99-datasource.cfg"


def machine(
    guest: Guest, *, tree: Path, segment: str = GUEST_SEGMENT, source: str = "CloudStack"
) -> Machine:
    """A guest as a machine on a guest network, whose cloud-init asks this data source."""
    return Machine(
        name=guest.name,
        image=tree,
        interfaces=(Interface(segment=segment, mac=guest.mac),),
        files={DATA_SOURCE: f"datasource_list: [ {source} ]\n".encode()},
    )


def up(runtime: Runtime, *, tree: Path, guests: Iterable[Guest] = GUESTS) -> list[str]:
    """Power on the guests that are off, and don't wait; their names."""
    started = []
    for guest in guests:
        if not runtime.status(guest.name).running:
            runtime.start(machine(guest, tree=tree), wait=None)
            started.append(guest.name)
    return started


def wait(runtime: Runtime, name: str, *, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Wait until a guest's cloud-init is done. Its exit status is 0 when all went well, and its output
    says which data source it found. Raises MachineError if the guest doesn't run, TimeoutExpired."""
    return runtime.run(name, ["cloud-init", "status", "--wait", "--long"], timeout=timeout)
