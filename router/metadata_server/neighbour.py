"""Which MAC address the kernel sends to when it sends to a guest (rtnetlink(7), RTM_GETNEIGH).

A source address can be forged, but whoever completes a TCP handshake got our packets, and this is where
they went. Raw netlink, because one lookup is a handful of microseconds and a library's is a hundred.
"""

import socket
import struct

_RTM_NEWNEIGH, _RTM_GETNEIGH = 28, 30
_NLM_F_REQUEST = 1
_NDA_DST, _NDA_LLADDR = 1, 2
_NUD_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80
"""REACHABLE, STALE, DELAY, PROBE, NOARP, PERMANENT: not INCOMPLETE, not FAILED."""

_QUERY = struct.Struct("=IHHIIBxxxiHBBHH4s")
_HEADER = struct.Struct("=IHHII")
_NDMSG = struct.Struct("=BxxxiHBB")
_ATTRIBUTE = struct.Struct("=HH")


class Neighbours:
    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        # The kernel answers within the send; if it ever didn't, the service mustn't stop for it.
        self._socket.settimeout(0.1)
        self._sequence = 0

    def mac(self, ifindex: int, address: str) -> str | None:
        """The MAC address of an IPv4 neighbour on an interface; None while the kernel knows none."""
        self._sequence = self._sequence + 1 & 0xFFFFFFFF
        query = _QUERY.pack(
            _QUERY.size, _RTM_GETNEIGH, _NLM_F_REQUEST, self._sequence, 0,
            socket.AF_INET, ifindex, 0, 0, 0,
            8, _NDA_DST, socket.inet_aton(address),
        )  # fmt: skip
        try:
            self._socket.send(query)
            while True:
                answer = self._socket.recv(4096)
                if _HEADER.unpack_from(answer)[3] == self._sequence:
                    return _link_address(answer)
        except OSError:
            return None

    def close(self) -> None:
        self._socket.close()


def _link_address(answer: bytes) -> str | None:
    length, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _RTM_NEWNEIGH:
        return None
    _, _, state, _, _ = _NDMSG.unpack_from(answer, _HEADER.size)
    if not state & _NUD_USABLE:
        return None
    place = _HEADER.size + _NDMSG.size
    while place + _ATTRIBUTE.size <= min(length, len(answer)):
        size, attribute = _ATTRIBUTE.unpack_from(answer, place)
        if attribute == _NDA_LLADDR:
            return answer[place + _ATTRIBUTE.size : place + size].hex(":")
        if size < _ATTRIBUTE.size:
            return None
        place += size + 3 & ~3
    return None
