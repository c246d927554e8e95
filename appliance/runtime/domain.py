"""A virtual machine as libvirt describes one (https://libvirt.org/formatdomain.html): a pure function."""

from dataclasses import dataclass
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from appliance.runtime.runtime import Interface, Machine

Form = Literal["qcow2", "raw"]
Kind = Literal["kvm", "qemu", "xen"]
"""libvirt's name for what runs a machine: the processor's own virtualization, emulation, or Xen."""
STATE_SERIAL = "sysvm-state"
"""By this an appliance knows the disk that it keeps its state on."""
GUEST_AGENT = "org.qemu.guest_agent.0"
NETWORK = "network:"
"""A segment that begins so is a network of libvirt's; any other is a bridge of the host."""
_PORTS = 12
"""What can be plugged in beside what is there at the start: a PCI Express port takes one device."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """A file on the host where the machine runs. A read-only one may be several machines'."""

    path: str
    form: Form
    read_only: bool = False
    serial: str | None = None


def domain(machine: Machine, *, full: str, key: str, kind: Kind, disks: tuple[Disk, ...], log: str) -> str:
    """The XML of a machine that libvirt calls `full`, with the UUID `key`. The first of the disks is booted;
    the serial console is written to the file `log`, too."""
    root = Element("domain", type=kind)
    _text(root, "name", full)
    _text(root, "uuid", key)
    _text(root, "title", f"sysvm {machine.name}")
    _text(root, "memory", str(machine.hardware.memory), unit="MiB")
    _text(root, "vcpu", str(machine.hardware.cpus))
    _firmware(root, machine, kind)
    features = SubElement(root, "features")
    SubElement(features, "acpi")
    SubElement(features, "apic")
    _processor(root, kind)
    SubElement(root, "clock", offset="utc")
    for event, action in (("poweroff", "destroy"), ("reboot", "restart"), ("crash", "restart")):
        _text(root, f"on_{event}", action)
    devices = SubElement(root, "devices")
    for place, disk in enumerate(disks):
        _disk(devices, disk, place=place, kind=kind)
    for each in machine.interfaces:
        devices.append(interface(each, kind=kind))
    serial = SubElement(devices, "serial", type="pty")
    SubElement(serial, "target", port="0")
    if kind != "xen":
        # Xen's own log is xenconsoled's to keep.
        SubElement(serial, "log", file=log, append="off")
        _hardware(devices)
    # The screen, for a console proxy on the same host.
    graphics = SubElement(devices, "graphics", type="vnc", port="-1", autoport="yes")
    SubElement(graphics, "listen", type="address", address="127.0.0.1")
    indent(root)
    return tostring(root, encoding="unicode")


def interface(each: Interface, *, kind: Kind) -> Element:
    """An interface, also for a machine that runs."""
    network = each.segment.removeprefix(NETWORK)
    found = Element("interface", type="bridge" if network == each.segment else "network")
    SubElement(found, "mac", address=each.mac)
    SubElement(found, "source", {found.get("type", ""): network})
    SubElement(found, "model", type="netfront" if kind == "xen" else "virtio")
    return found


def _firmware(root: Element, machine: Machine, kind: Kind) -> None:
    firmware = {"firmware": "efi"} if machine.hardware.firmware == "uefi" else {}
    system = SubElement(root, "os", firmware)
    hvm = {"arch": "x86_64"} if kind == "xen" else {"arch": "x86_64", "machine": "q35"}
    _text(system, "type", "hvm", **hvm)
    if firmware:
        # Nothing of ours is signed by whom firmware trusts.
        wanted = SubElement(system, "firmware")
        SubElement(wanted, "feature", enabled="no", name="secure-boot")
    SubElement(system, "boot", dev="hd")
    if machine.hardware.product is not None and kind != "xen":
        SubElement(system, "smbios", mode="sysinfo")
        table = SubElement(SubElement(root, "sysinfo", type="smbios"), "system")
        SubElement(table, "entry", name="product").text = machine.hardware.product


def _processor(root: Element, kind: Kind) -> None:
    match kind:
        case "kvm":
            SubElement(root, "cpu", mode="host-passthrough", migratable="on")
        case "qemu":
            processor = SubElement(root, "cpu", mode="maximum")
            # QEMU 7.2 emulates cmpxchg16b so that Debian 13's kernel double-faults at random.
            SubElement(processor, "feature", policy="disable", name="cx16")
        case "xen":
            pass


def _disk(devices: Element, disk: Disk, *, place: int, kind: Kind) -> None:
    found = SubElement(devices, "disk", type="file", device="disk")
    SubElement(found, "driver", name="qemu", type=disk.form, discard="unmap")
    SubElement(found, "source", file=disk.path)
    bus, prefix = ("xen", "xvd") if kind == "xen" else ("virtio", "vd")
    SubElement(found, "target", dev=f"{prefix}{'abcdefgh'[place]}", bus=bus)
    if disk.read_only:
        SubElement(found, "readonly")
    if disk.serial is not None:
        _text(found, "serial", disk.serial)


def _hardware(devices: Element) -> None:
    SubElement(devices, "controller", type="pci", model="pcie-root")
    for _ in range(_PORTS):
        SubElement(devices, "controller", type="pci", model="pcie-root-port")
    channel = SubElement(devices, "channel", type="unix")
    SubElement(channel, "target", type="virtio", name=GUEST_AGENT)
    SubElement(devices, "watchdog", model="i6300esb", action="reset")
    entropy = SubElement(devices, "rng", model="virtio")
    _text(entropy, "backend", "/dev/urandom", model="random")


def _text(parent: Element, name: str, text: str, **attributes: str) -> None:
    SubElement(parent, name, attributes).text = text
