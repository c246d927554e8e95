"""The kernel's tracked connections (ctnetlink): list them, and end one without touching another."""

import ipaddress
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from appliance.engine.nft import attributes

_NETLINK_NETFILTER = 12
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK with IPCTNL_MSG_CT_GET and _DELETE
_REQUEST, _ACKNOWLEDGE, _DUMP = 1, 4, 0x300
_ERROR, _DONE = 2, 3
# nfnetlink_conntrack.h
_ORIGINAL, _REPLY, _STATUS, _PROTOCOL_STATE, _TIMEOUT, _COUNT_ORIGINAL, _COUNT_REPLY, _ID, _MASTER = (
    1, 2, 3, 4, 7, 9, 10, 12, 14,
)  # fmt: skip
_TCP_STATES = (
    "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT",
    "CLOSE", "SYN_SENT2",
)  # fmt: skip
_ANSWERED, _OFFLOADED = 1 << 1, 1 << 14
_ROOM = 1 << 20
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Tuple:
    """One direction. Addresses are numbers; ports are 0 where the protocol has none."""

    source: int
    destination: int
    source_port: int
    port: int
    icmp_type: int
    icmp_code: int = 0


@dataclass(frozen=True, slots=True)
class Connection:
    version: int
    """Of IP."""
    protocol: int
    original: Tuple
    reply: Tuple
    state: str
    """TCP's; empty for other protocols."""
    answered: bool
    offloaded: bool
    """In the flowtable."""
    seconds_left: int
    bytes_sent: int | None
    """By who began it; None where the kernel doesn't count (nf_conntrack_acct)."""
    bytes_received: int | None
    identity: bytes
    """The attributes that name it to the kernel."""
    master: "Key | None" = None
    """What told of it, by a helper."""

    @property
    def key(self) -> "Key":
        return self.version, self.protocol, self.original

    def text(self, address: int) -> str:
        kind = ipaddress.IPv4Address if self.version == 4 else ipaddress.IPv6Address
        return str(kind(address))


Key = tuple[int, int, Tuple]
"""Version of IP, protocol, and the original direction."""


def connections() -> Iterator[Connection]:
    """All that are tracked in this network namespace. Raises OSError."""
    with closing(_socket()) as asking:
        _send(asking, _GET, _REQUEST | _DUMP, socket.AF_UNSPEC, b"")
        while True:
            answer = asking.recv(_ROOM)
            offset = 0
            while offset + 16 <= len(answer):
                length, kind = struct.unpack_from("=IH", answer, offset)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise _error(answer, offset)
                if connection := _parsed(answer[offset + 16 : offset + length]):
                    yield connection
                offset += (length + 3) & ~3


def end(ending: Iterator[Connection] | list[Connection]) -> int:
    """Forget these: their packets are those of new connections from then on. How many were there still.
    Raises OSError."""
    count = 0
    with closing(_socket()) as asking:
        for connection in ending:
            family = socket.AF_INET if connection.version == 4 else socket.AF_INET6
            _send(asking, _DELETE, _REQUEST | _ACKNOWLEDGE, family, connection.identity)
            error = _error(asking.recv(_ROOM), 0)
            if error.errno == 0:
                count += 1
            elif error.errno != 2:  # ENOENT: it ended by itself.
                raise error
    return count


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    made.settimeout(_SECONDS)
    made.bind((0, 0))
    return made


def _send(asking: socket.socket, kind: int, flags: int, family: int, attributes: bytes) -> None:
    header = struct.pack("=IHHII", 20 + len(attributes), kind, flags, 1, 0)
    asking.send(header + struct.pack("=BBH", family, 0, 0) + attributes)


def _error(answer: bytes, offset: int) -> OSError:
    number = -struct.unpack_from("=i", answer, offset + 16)[0]
    return OSError(number, "The kernel's connection tracking says no")


def _parsed(content: bytes) -> Connection | None:
    found = attributes(content[4:])
    if _ORIGINAL not in found or _REPLY not in found:
        return None
    version, protocol, original = _tuple(found[_ORIGINAL])
    status = int.from_bytes(found.get(_STATUS, b""), "big")
    return Connection(
        version=version,
        protocol=protocol,
        original=original,
        reply=_tuple(found[_REPLY])[2],
        state=_tcp_state(found.get(_PROTOCOL_STATE, b"")) if protocol == 6 else "",
        answered=bool(status & _ANSWERED),
        offloaded=bool(status & _OFFLOADED),
        seconds_left=int.from_bytes(found.get(_TIMEOUT, b""), "big"),
        bytes_sent=_bytes(found.get(_COUNT_ORIGINAL)),
        bytes_received=_bytes(found.get(_COUNT_REPLY)),
        identity=_attribute(_ORIGINAL | 0x8000, found[_ORIGINAL]) + _attribute(_ID, found.get(_ID, b"")),
        master=_tuple(found[_MASTER]) if _MASTER in found else None,
    )


def _attribute(kind: int, content: bytes) -> bytes:
    if not content:
        return b""
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def _tuple(content: bytes) -> tuple[int, int, Tuple]:
    """Version of IP, protocol, and the tuple."""
    found = attributes(content)
    addresses, transport = attributes(found.get(1, b"")), attributes(found.get(2, b""))
    version = 4 if 1 in addresses else 6
    source, destination = (addresses.get(kind, b"") for kind in ((1, 2) if version == 4 else (3, 4)))
    number = {kind: int.from_bytes(value, "big") for kind, value in transport.items()}
    return (
        version,
        number.get(1, 0),
        Tuple(
            source=int.from_bytes(source, "big"),
            destination=int.from_bytes(destination, "big"),
            source_port=number.get(2, 0),
            port=number.get(3, 0),
            icmp_type=number.get(5, number.get(8, 0)),
            icmp_code=number.get(6, number.get(9, 0)),
        ),
    )


def _tcp_state(content: bytes) -> str:
    state = attributes(attributes(content).get(1, b"")).get(1, b"\0")[0]
    return _TCP_STATES[state] if state < len(_TCP_STATES) else str(state)


def _bytes(content: bytes | None) -> int | None:
    return None if content is None else int.from_bytes(attributes(content).get(2, b""), "big")
