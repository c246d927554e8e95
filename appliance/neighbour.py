"""Who answers for an address on a link, asked by ARP (RFC 826) or neighbour solicitation (RFC 4861),
whatever addresses we have there ourselves."""

import ipaddress
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

_ARP = 0x0806
_SOLICITATION, _ADVERTISEMENT = 135, 136
_SOURCE_LINK_ADDRESS, _TARGET_LINK_ADDRESS = 1, 2
_IP_OF_NOBODY = bytes(4)


def answers(link: str, address: str, *, seconds: float = 0.3) -> frozenset[str]:
    """MAC addresses of others that say they have it, until the first has and a little longer. Raises OSError
    where there is no such link."""
    own = Path(f"/sys/class/net/{link}/address").read_text().strip()
    ask = _by_solicitation if ":" in address else _by_arp
    return ask(link, address, bytes.fromhex(own.replace(":", "")), seconds) - {own}


def _by_arp(link: str, address: str, mac: bytes, seconds: float) -> frozenset[str]:
    """A probe (RFC 5227): from no address, so it changes nobody's mind."""
    wanted = socket.inet_aton(address)
    found: set[str] = set()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ARP)) as raw:
        raw.bind((link, _ARP))
        frame = b"\xff" * 6 + mac + struct.pack("!HHHBBH", _ARP, 1, 0x0800, 6, 4, 1)
        raw.send(frame + mac + _IP_OF_NOBODY + bytes(6) + wanted)
        for packet in _until(raw, seconds):
            # A reply, or anybody's word that the address is his.
            if len(packet) >= 42 and packet[28:32] == wanted and packet[22:28] != mac:
                found.add(packet[22:28].hex(":"))
                break
    return frozenset(found)


def _by_solicitation(link: str, address: str, mac: bytes, seconds: float) -> frozenset[str]:
    target = ipaddress.IPv6Address(address)
    group = ipaddress.IPv6Address(int(ipaddress.IPv6Address("ff02::1:ff00:0")) | int(target) & 0xFFFFFF)
    found: set[str] = set()
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        # The kernel fills in the checksum (RFC 3542, section 3.1).
        message = struct.pack("!BBHI", _SOLICITATION, 0, 0, 0) + target.packed
        message += bytes((_SOURCE_LINK_ADDRESS, 1)) + mac
        raw.sendto(message, (str(group), 0, 0, socket.if_nametoindex(link)))
        for packet in _until(raw, seconds):
            if packet[0] == _ADVERTISEMENT and packet[8:24] == target.packed:
                option = packet[24:32]
                told = len(option) == 8 and option[0] == _TARGET_LINK_ADDRESS
                found.add(option[2:8].hex(":") if told else "unknown")
                break
    return frozenset(found)


def _until(raw: socket.socket, seconds: float) -> Iterator[bytes]:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        raw.settimeout(left)
        try:
            yield raw.recv(2048)
        except TimeoutError:
            return
