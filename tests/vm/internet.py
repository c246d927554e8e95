"""The far end of a machine's public card: a tap in a namespace of its own, with a time server."""

import fcntl
import os
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

from pyroute2 import IPRoute, netns

from tests.namespace import within

ADDRESS = "203.0.113.1"
AHEAD = 40_000.0
"""Seconds that the time server is ahead of this machine: whoever asks it can be told from who doesn't."""
_LINK = "tap0"
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x400454CA, 0x2, 0x1000, 0x4000  # linux/if_tun.h
_SINCE_1900 = 2_208_988_800


@dataclass
class Internet:
    name: str
    """Of the namespace."""
    asked: int = 0
    """How often somebody wanted to know the time."""
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
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.bind((ADDRESS, 123))
        threading.Thread(target=self._tell_the_time, daemon=True).start()

    def arguments(self, mac: str) -> tuple[str, ...]:
        """QEMU's words for the card at this end."""
        return ("-netdev", f"tap,id=internet,fd={self.tap}",
                "-device", f"virtio-net-pci,netdev=internet,mac={mac},romfile=")  # fmt: skip

    def close(self) -> None:
        self._socket.close()
        os.close(self.tap)
        netns.remove(self.name)

    def _tell_the_time(self) -> None:
        """As RFC 4330, section 5, has a server of stratum 1 do it."""
        while True:
            try:
                question, client = self._socket.recvfrom(512)
            except OSError:
                return  # closed
            self.asked += 1
            now = time.time() + AHEAD + _SINCE_1900
            stamp = struct.pack("!II", int(now), int(now % 1 * 2**32))
            head = struct.pack("!BBbb", 4 << 3 | 4, 1, 6, -20) + bytes(8) + b"TEST"
            self._socket.sendto(head + stamp + question[40:48] + stamp + stamp, client)
