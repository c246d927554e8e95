"""What the kernel's rules did with a traced packet: nf_tables' trace events, read by netlink, with the text
that the live ruleset has for the rules."""

import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from appliance.agent.packet import Packet, read
from appliance.engine.nft import attributes

_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP = 12, 270, 1
_TRACE_GROUP = 9  # NFNLGRP_NFTRACE
_TRACE = 10 << 8 | 17  # NFNL_SUBSYS_NFTABLES, NFT_MSG_TRACE
# nf_tables.h: NFTA_TRACE_*
_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _ID, _NETWORK, _TRANSPORT, _IN, _OUT, _MARK, _POLICY = (
    1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 14, 16,
)  # fmt: skip
_TYPES = {1: "policy", 2: "return", 3: "rule"}
_VERDICTS = {
    0: "drop",
    1: "accept",
    2: "stolen",
    -1: "continue",
    -2: "break",
    -3: "jump",
    -4: "goto",
    -5: "return",
}
_RULE = re.compile(r"^(.*) # handle (\d+)$")
_ROOM = 1 << 16
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Event:
    identity: int
    """Of the packet."""
    table: str
    chain: str
    kind: str
    """rule, policy or return."""
    handle: int
    verdict: str
    packet: Packet | None
    """What it is there; the kernel tells it at the first event of a hook."""
    link_in: int
    """Index; 0 where it isn't told."""
    link_out: int
    mark: int = 0
    """Of the packet: by which table of routes it goes."""


class Tracer:
    def __init__(self, listening: socket.socket) -> None:
        self._socket = listening

    def events(self, *, seconds: float) -> Iterator[Event]:
        """As they come; ends when none comes for so long."""
        while True:
            self._socket.settimeout(seconds)
            try:
                content = self._socket.recv(_ROOM)
            except TimeoutError:
                return
            offset = 0
            while offset + 16 <= len(content):
                length, kind = struct.unpack_from("=IH", content, offset)
                if kind == _TRACE:
                    yield _event(content[offset + 20 : offset + length])
                offset += (length + 3) & ~3


@contextmanager
def tracing() -> Iterator[Tracer]:
    """From here on what happens to traced packets is heard."""
    listening = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    with closing(listening):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        listening.bind((0, 0))
        listening.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _TRACE_GROUP)
        yield Tracer(listening)


def _event(content: bytes) -> Event:
    found = attributes(content)
    verdict = attributes(found.get(_VERDICT, b"")).get(1, b"")
    code = _number(found[_POLICY]) if _POLICY in found else _number(verdict, signed=True)
    return Event(
        identity=_number(found.get(_ID, b"")),
        table=_text(found.get(_TABLE, b"")),
        chain=_text(found.get(_CHAIN, b"")),
        kind=_TYPES.get(_number(found.get(_TYPE, b"")), ""),
        handle=_number(found.get(_HANDLE, b"")),
        # The low bits are the verdict (a queue's number, an error are above).
        verdict=_VERDICTS.get(code if code < 0 else code & 0xFF, str(code)),
        packet=read(found.get(_NETWORK, b""), found.get(_TRANSPORT, b"")),
        link_in=_number(found.get(_IN, b"")),
        link_out=_number(found.get(_OUT, b"")),
        mark=_number(found.get(_MARK, b"")),
    )


def _number(content: bytes, *, signed: bool = False) -> int:
    return int.from_bytes(content, "big", signed=signed)


def _text(content: bytes) -> str:
    return content.rstrip(b"\0").decode(errors="replace")


def rules() -> dict[tuple[str, str, int], str]:
    """The text of every rule, by table, chain and handle."""
    argv = ["nft", "--handle", "--numeric", "--terse", "list", "ruleset"]
    listing = subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, check=True).stdout
    return parsed(listing)


def parsed(listing: str) -> dict[tuple[str, str, int], str]:
    found: dict[tuple[str, str, int], str] = {}
    table = chain = begun = ""
    for line in listing.splitlines():
        if line.startswith("\t\t"):
            # The elements of a set in a rule may take several lines.
            begun += (" " if begun else "") + line.strip()
        elif line.startswith("table "):
            table = line.split()[2]
        elif line.startswith("\tchain "):
            chain = line.split()[1]
        if match := _RULE.match(begun):
            found[table, chain, int(match[2])] = match[1]
        if match or begun.endswith(";") or not line.startswith("\t\t"):
            begun = ""
    return found
