"""Network cards of emulated machines on the segments of a cloud: QEMU gets a tap that is open already."""

import fcntl
import os
import struct

from appliance.runtime import namespace
from appliance.runtime.segment import Switch
from tests.bench.inside import inside

_TUNSETIFF = 0x400454CA
_TAP, _NO_PI, _VNET_HDR = 0x0002, 0x1000, 0x4000  # <linux/if_tun.h>


def open_tap(switch: Switch, segment: str, name: str) -> int:
    """A tap of this name on a segment, for `-netdev tap,fd=`; it goes when it is closed."""
    with inside(switch.namespace):
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP | _NO_PI | _VNET_HDR))
    with namespace.opened(switch.namespace) as links:
        bridge = links.link_lookup(ifname=segment)[0]
        links.link("set", index=links.link_lookup(ifname=name)[0], master=bridge, state="up")
    return tap


def card(tap: int, *, identity: str, mac: str, bus: str = "") -> list[str]:
    """QEMU's arguments for a card on an open tap."""
    device = f"virtio-net-pci,id={identity},netdev={identity},mac={mac},romfile="
    if bus:
        device += f",bus={bus}"
    return ["-netdev", f"tap,id={identity},fd={tap}", "-device", device]
