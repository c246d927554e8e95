"""The far end of a machine's public card: a tap in a namespace of its own, with a time server."""

import fcntl
import os
import socket
import struct
from dataclasses import dataclass, field

from pyroute2 import IPRoute, netns

from tests.namespace import within
from tests.time_server import PORT, TimeServer

ADDRESS = "203.0.113.1"
AHEAD = 40_000.0
"""Seconds that the time server is ahead of this machine: whoever asks it can be told from who doesn't."""
_LINK = "tap0"
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x400454CA, 0x2, 0x1000, 0x4000  # linux/if_tun.h


@dataclass
class Internet:
    name: str
    """Of the namespace."""
    tap: int = field(init=False)
    """The descriptor that QEMU gets."""

    def __post_init__(self) -> None:
        netns.create(self.name)
        with within(self.name):
            self.tap = os.open("/dev/net/tun", os.O_RDWR)
            flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
            fcntl.ioctl(self.tap, _TUNSETIFF, struct.pack("16sH22x", _LINK.encode(), flags))
            with IPRoute() as ip:
                (index,) = ip.link_lookup(ifname=_LINK)
                ip.addr("add", index=index, address=ADDRESS, prefixlen=24)
                ip.link("set", index=index, state="up")
            listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            listening.bind((ADDRESS, PORT))
        self.clock = TimeServer(listening, ahead=AHEAD)

    def arguments(self, mac: str) -> tuple[str, ...]:
        """QEMU's words for the card at this end."""
        return ("-netdev", f"tap,id=internet,fd={self.tap}",
                "-device", f"virtio-net-pci,netdev=internet,mac={mac},romfile=")  # fmt: skip

    def close(self) -> None:
        self.clock.close()
        os.close(self.tap)
        netns.remove(self.name)
