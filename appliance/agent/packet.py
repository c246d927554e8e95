"""A packet that asks what would become of one like it: built, and read back from what the kernel tells.

It carries a mark that no translation changes (TCP's sequence number, or the first bytes behind the transport
header), so that it is known again wherever it comes.
"""

import ipaddress
import socket
import struct
from dataclasses import dataclass

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
_NUMBERS = {"tcp": TCP, "udp": UDP, "icmp": ICMP}
_ECHO, _ECHO6 = 8, 128
_HOPS = 64
_SYN = 0x02


@dataclass(frozen=True, slots=True)
class Packet:
    """What its headers say; ports are 0 where the protocol has none."""

    source: str
    destination: str
    protocol: int
    source_port: int = 0
    port: int = 0
    icmp_type: int = -1

    @property
    def version(self) -> int:
        return 6 if ":" in self.source else 4

    def as_json(self) -> dict[str, object]:
        found: dict[str, object] = {
            "from": self.source, "to": self.destination, "protocol": self.protocol
        }  # fmt: skip
        if self.protocol in (TCP, UDP):
            found |= {"source_port": self.source_port, "port": self.port}
        elif self.icmp_type >= 0:
            found["icmp_type"] = self.icmp_type
        return found

    def __str__(self) -> str:
        if self.protocol not in (TCP, UDP):
            return f"{self.source} -> {self.destination}"
        one, other = (f"[{text}]" if self.version == 6 else text for text in (self.source, self.destination))
        return f"{one}:{self.source_port} -> {other}:{self.port}"


def number(protocol: str | int, *, version: int) -> int:
    """A protocol's number, as IANA assigns them."""
    if protocol == "icmp" and version == 6:
        return ICMPV6
    return _NUMBERS[protocol] if isinstance(protocol, str) else protocol


def built(packet: Packet, *, mark: int) -> bytes:
    """The packet from its IP header on: a TCP SYN, a datagram, an echo request, or a bare payload. `mark`
    has 32 bits, and 16 of them are the IPv4 header's identification."""
    body = _transport(packet, mark)
    source, destination = (ipaddress.ip_address(text).packed for text in (packet.source, packet.destination))
    if packet.version == 6:
        begin = 6 << 28 | mark & 0xFFFFF
        return struct.pack("!IHBB", begin, len(body), packet.protocol, _HOPS) + source + destination + body
    # fmt: off
    header = struct.pack(
        "!BBHHHBBH", 0x45, 0, 20 + len(body), mark & 0xFFFF, 0, _HOPS, packet.protocol, 0,
    ) + source + destination
    # fmt: on
    return header[:10] + struct.pack("!H", _checksum(header)) + header[12:] + body


def _transport(packet: Packet, mark: int) -> bytes:
    payload = struct.pack("!II", mark, mark)
    if packet.protocol == TCP:
        body = struct.pack("!HHIIBBHHH", packet.source_port, packet.port, mark, 0, 0x50, _SYN, 1024, 0, 0)
        place = 16
    elif packet.protocol == UDP:
        body = struct.pack("!HHHH", packet.source_port, packet.port, 16, 0) + payload
        place = 6
    elif packet.protocol in (ICMP, ICMPV6):
        kind = packet.icmp_type if packet.icmp_type >= 0 else _ECHO if packet.version == 4 else _ECHO6
        body = struct.pack("!BBHHH", kind, 0, 0, mark >> 16, 1) + payload
        place = 2
    else:
        return struct.pack("!II", 0, 0) + payload
    before = b"" if packet.protocol == ICMP else _pseudo_header(packet, len(body))
    sum_ = _checksum(before + body)
    # Zero would say that there is none (RFC 768).
    return body[:place] + struct.pack("!H", sum_ or 0xFFFF) + body[place + 2 :]


def _pseudo_header(packet: Packet, length: int) -> bytes:
    addresses = b"".join(ipaddress.ip_address(text).packed for text in (packet.source, packet.destination))
    if packet.version == 4:
        return addresses + struct.pack("!BBH", 0, packet.protocol, length)
    return addresses + struct.pack("!IHBB", length, 0, 0, packet.protocol)


def _checksum(content: bytes) -> int:
    """RFC 1071."""
    content += b"\0" * (len(content) % 2)
    total: int = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def read(network: bytes, transport: bytes) -> Packet | None:
    """From its headers; None where there is too little of them."""
    version = network[0] >> 4 if network else 0
    if version == 4 and len(network) >= 20:
        protocol, addresses = network[9], (network[12:16], network[16:20])
        family = socket.AF_INET
    elif version == 6 and len(network) >= 40:
        protocol, addresses = network[6], (network[8:24], network[24:40])
        family = socket.AF_INET6
    else:
        return None
    source, destination = (socket.inet_ntop(family, text) for text in addresses)
    has_ports = protocol in (TCP, UDP) and len(transport) >= 4
    source_port, port = struct.unpack("!HH", transport[:4]) if has_ports else (0, 0)
    icmp_type = transport[0] if protocol in (ICMP, ICMPV6) and transport else -1
    return Packet(source, destination, protocol, source_port, port, icmp_type)


def mark_match(packet: Packet, mark: int) -> str:
    """How nft knows the packet again."""
    version = f"meta nfproto ipv{packet.version} meta l4proto {packet.protocol}"
    if packet.protocol == TCP:
        return f"{version} tcp sequence {mark}"
    return f"{version} @th,64,32 {mark} @th,96,32 {mark}"


def answer_match(packet: Packet, mark: int) -> list[str]:
    """How nft knows what would be said to its sender: that it was refused, or found no way."""
    family = "ip" if packet.version == 4 else "ip6"
    found = [
        f"ip daddr {packet.source} icmp type {{ 3, 5, 11 }} @th,96,16 {mark & 0xFFFF}"
        if packet.version == 4
        else f"ip6 daddr {packet.source} icmpv6 type {{ 1, 2, 3 }} @th,64,32 {6 << 28 | mark & 0xFFFFF}"
    ]
    if packet.protocol == TCP:
        flags = f"tcp dport {packet.source_port} tcp flags & rst == rst tcp ackseq {(mark + 1) % 2**32}"
        found.append(f"{family} daddr {packet.source} {flags}")
    return found
