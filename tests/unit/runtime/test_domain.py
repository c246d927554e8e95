from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest

from appliance.runtime.domain import Disk, domain
from appliance.runtime.runtime import Hardware, Interface, Machine
from appliance.runtime.virtual import root

ROUTER = Machine(
    name="r1",
    image=Path("/images/router.qcow2"),
    keeps=True,
    boot=b"PRIVATE KEY",
    interfaces=(
        Interface(segment="br-guest", mac="02:00:0a:01:01:01"),
        Interface(segment="network:control", mac="02:00:a9:fe:03:02"),
    ),
)
DISKS = (
    Disk(path="/pool/image.qcow2", form="qcow2", read_only=True),
    Disk(path="/pool/r1-state", form="qcow2", serial="sysvm-state"),
    Disk(path="/pool/r1-boot", form="raw", read_only=True),
)


def described(machine: Machine = ROUTER, kind: Any = "kvm") -> Element:
    key = "4da79762-dfab-5616-9a9e-fb1ec4171b2b"
    return fromstring(domain(machine, full="sysvm-main-r1", key=key, kind=kind, disks=DISKS, log="/log"))


def test_interfaces_are_of_bridges_and_of_libvirts_networks() -> None:
    bridge, network = described().findall("devices/interface")
    assert (bridge.get("type"), bridge.find("source").attrib) == ("bridge", {"bridge": "br-guest"})  # type: ignore[union-attr]
    assert (network.get("type"), network.find("source").attrib) == ("network", {"network": "control"})  # type: ignore[union-attr]
    assert [each.find("mac").get("address") for each in (bridge, network)] == [  # type: ignore[union-attr]
        "02:00:0a:01:01:01",
        "02:00:a9:fe:03:02",
    ]


def test_an_appliance_writes_its_state_and_nothing_else() -> None:
    written = [disk for disk in described().findall("devices/disk") if disk.find("readonly") is None]
    assert [disk.findtext("serial") for disk in written] == ["sysvm-state"]


def test_boot_data_is_on_a_disk_and_in_no_description() -> None:
    assert "PRIVATE" not in domain(ROUTER, full="f", key="k", kind="kvm", disks=DISKS, log="/log")


def test_an_emulated_processor_has_no_cx16() -> None:
    feature = described(kind="qemu").find("cpu/feature")
    assert feature is not None
    assert feature.attrib == {"policy": "disable", "name": "cx16"}
    assert described(kind="kvm").find("cpu").get("mode") == "host-passthrough"  # type: ignore[union-attr]


def test_firmware_says_whose_guest_it_is() -> None:
    guest = Machine(name="vm1", image=Path("/g"), hardware=Hardware(product="CloudStack", firmware="uefi"))
    seen = described(guest)
    assert seen.findtext("sysinfo/system/entry[@name='product']") == "CloudStack"
    assert seen.find("os").get("firmware") == "efi"  # type: ignore[union-attr]
    assert described().find("sysinfo") is None


def test_there_are_ports_to_plug_more_into() -> None:
    ports = described().findall("devices/controller[@model='pcie-root-port']")
    assert len(ports) >= 8


def test_xen_gets_what_xen_has() -> None:
    seen = described(kind="xen")
    assert seen.find("os/type").attrib == {"arch": "x86_64"}  # type: ignore[union-attr]
    assert {disk.find("target").get("bus") for disk in seen.findall("devices/disk")} == {"xen"}  # type: ignore[union-attr]
    assert {each.find("model").get("type") for each in seen.findall("devices/interface")} == {"netfront"}  # type: ignore[union-attr]
    assert seen.find("devices/watchdog") is None


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("qemu:///system", "/"),
        ("qemu+ssh://root@host/system", "/"),
        ("qemu+unix:///system?socket=/run/x/run/libvirt/libvirt-sock", "/run/x"),
    ],
)
def test_a_libvirtd_of_our_own_has_its_files_below_its_place(uri: str, place: str) -> None:
    assert root(uri) == Path(place)
