"""Where an appliance runs, and as what: kept by the management plane, used by whoever starts machines."""

from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import delete, select

from appliance.address import MacAddress
from appliance.boot import SshKey
from appliance.management.inventory import Inventory
from appliance.management.tables import PlacementRow
from appliance.model import Model


class Card(Model):
    """A network interface of the machine, and where it is plugged in."""

    mac: MacAddress
    segment: Annotated[str, Field(min_length=1)]
    """A bridge of the host, `network:NAME` a network of libvirt's, or a segment of a container's cloud."""


class Placement(Model):
    host: str = "qemu:///system"
    """`containers`, or a libvirt URI (https://libvirt.org/uri.html)."""
    cloud: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,11}$")] = "main"
    """The machine is called sysvm-CLOUD-NAME on its host."""
    image: Annotated[str, Field(pattern=r"^/")]
    """The path of a disk image (qcow2), or of a container's tree, where `sysvm` runs."""
    previous: Annotated[str, Field(pattern=r"^/")] | None = None
    """The image to go back to: only while an upgrade hasn't ended."""
    interfaces: list[Card]
    memory: Annotated[int, Field(ge=128, le=1048576)] = 512
    """MiB."""
    cpus: Annotated[int, Field(ge=1, le=256)] = 1
    ssh_keys: list[SshKey] = []
    """Who may log in as root through the control interface (lines of authorized_keys)."""
    firmware: Literal["bios", "uefi"] = "bios"


class Placements:
    """The placements in an inventory's database."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def get(self, name: str) -> Placement | None:
        """None where nobody said. Raises UnknownApplianceError."""
        key = self._inventory.appliance(name).id
        with self._inventory.reading() as session:
            text = session.scalar(select(PlacementRow.text).where(PlacementRow.appliance_id == key))
        return None if text is None else Placement.model_validate_json(text)

    def put(self, name: str, placement: Placement) -> None:
        """Raises UnknownApplianceError."""
        key = self._inventory.appliance(name).id
        with self._inventory.writing() as session:
            session.execute(delete(PlacementRow).where(PlacementRow.appliance_id == key))
            session.add(PlacementRow(appliance_id=key, text=placement.model_dump_json()))

    def delete(self, name: str) -> None:
        """None there is fine. Raises UnknownApplianceError."""
        key = self._inventory.appliance(name).id
        with self._inventory.writing() as session:
            session.execute(delete(PlacementRow).where(PlacementRow.appliance_id == key))
