"""VMware: a stream-optimized VMDK, and an OVA of it with its OVF descriptor (DSP0243)."""

import re
from pathlib import Path

from images import archive
from images.boot import run

_DESCRIPTOR_BYTES = 20 * 512
_DESCRIPTOR_PLACE = 512
_NO_CONTENT_ID = b"fffffffe"
OVF = """\
<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" \
xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" \
xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References>
    <File ovf:id="disk" ovf:href="{disk}" ovf:size="{size}"/>
  </References>
  <DiskSection>
    <Info>The disk</Info>
    <Disk ovf:diskId="disk1" ovf:fileRef="disk" ovf:capacity="{capacity}" \
ovf:capacityAllocationUnits="byte" \
ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>The control network comes first; interfaces are added as the appliance's networks are</Info>
    <Network ovf:name="control"><Description>The management plane's network</Description></Network>
  </NetworkSection>
  <VirtualSystem ovf:id="{name}">
    <Info>{name} {version}</Info>
    <Name>{name}</Name>
    <OperatingSystemSection ovf:id="96">
      <Info>Debian GNU/Linux, 64 bit</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>1 processor, 512 MB</Info>
      <System>
        <vssd:ElementName>Virtual hardware</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType>
      </System>
{items}    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"""
# CIM_ResourceAllocationSettingData: resource types of a processor, memory, an IDE and a SCSI controller, a
# link, a CD-ROM drive (for boot data) and a disk. The elements of an item are in the order of their names.
ITEMS: tuple[dict[str, str], ...] = (
    {"ElementName": "processor", "InstanceID": "1", "ResourceType": "3", "VirtualQuantity": "1"},
    {
        "AllocationUnits": "byte * 2^20",
        "ElementName": "memory",
        "InstanceID": "2",
        "ResourceType": "4",
        "VirtualQuantity": "512",
    },
    {"Address": "0", "ElementName": "ide0", "InstanceID": "3", "ResourceType": "5"},
    {
        "Address": "0",
        "ElementName": "scsi0",
        "InstanceID": "4",
        "ResourceSubType": "VirtualSCSI",
        "ResourceType": "6",
    },
    {
        "AddressOnParent": "0",
        "ElementName": "disk0",
        "HostResource": "ovf:/disk/disk1",
        "InstanceID": "5",
        "Parent": "4",
        "ResourceType": "17",
    },
    {
        "AddressOnParent": "0",
        "AutomaticAllocation": "false",
        "ElementName": "cdrom0",
        "InstanceID": "6",
        "Parent": "3",
        "ResourceType": "15",
    },
    {
        "AddressOnParent": "7",
        "AutomaticAllocation": "true",
        "Connection": "control",
        "ElementName": "control",
        "InstanceID": "7",
        "ResourceSubType": "VmxNet3",
        "ResourceType": "10",
    },
)


def write(raw: Path, target: Path) -> None:
    """Convert. Raises RuntimeError with qemu-img's words."""
    options = "subformat=streamOptimized,adapter_type=lsilogic"
    run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", options, raw, target])
    with target.open("r+b") as out:
        out.seek(_DESCRIPTOR_PLACE)
        descriptor = out.read(_DESCRIPTOR_BYTES)
        # A random number; it tells a disk from what it becomes, and this one never was another.
        settled = re.sub(rb"(?<=\nCID=)[0-9a-f]{8}", _NO_CONTENT_ID, descriptor)
        out.seek(_DESCRIPTOR_PLACE)
        out.write(settled)


def write_ova(vmdk: Path, target: Path, *, name: str, version: str, capacity: int, epoch: int) -> None:
    """An OVA: descriptor, manifest of SHA-256 sums, disk. `capacity` is the disk's, in bytes."""
    items = "".join(
        "      <Item>\n"
        + "".join(f"        <rasd:{key}>{value}</rasd:{key}>\n" for key, value in item.items())
        + "      </Item>\n"
        for item in ITEMS
    )
    descriptor = OVF.format(
        disk=vmdk.name,
        size=vmdk.stat().st_size,
        capacity=capacity,
        name=name,
        version=version,
        items=items,
    ).encode()
    ovf = f"{name}.ovf"
    sums = f"SHA256({ovf})= {archive.digest(descriptor)}\nSHA256({vmdk.name})= {archive.digest(vmdk)}\n"
    archive.bundle(
        target,
        [(ovf, descriptor), (f"{name}.mf", sums.encode()), (vmdk.name, vmdk)],
        epoch=epoch,
    )
