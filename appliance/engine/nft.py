"""libnftables through its Python binding, and the kernel's generation number of the ruleset."""

import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from ctypes import CDLL, c_bool, c_void_p
from typing import Any

from nftables import Nftables

_NETLINK_NETFILTER = 12
_NESTED_MASK = 0x3FFF
_GET_GENERATION = 10 << 8 | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN
_NEW_GENERATION = 10 << 8 | 15
_GENERATION_ID = 1  # NFTA_GEN_ID
_GET_OBJECT = 10 << 8 | 19  # NFT_MSG_GETOBJ
_OBJECT_TABLE, _OBJECT_NAME, _OBJECT_TYPE, _OBJECT_DATA = 1, 2, 3, 4
_COUNTER = struct.pack(">I", 1)  # NFT_OBJECT_COUNTER
_FAMILIES = {"inet": 1, "netdev": 5}
_REQUEST, _DUMP, _ERROR, _DONE = 1, 0x300, 2, 3


# A flowtable, and the hook by which what takes it can still be counted.
_FLOWTABLES = """
table inet sysvm_probe {
    flowtable probe { hook ingress priority 0; devices = { lo }; }
    chain probe { flow add @probe; }
}
table netdev sysvm_probe {
    chain probe { type filter hook egress device lo priority 0; }
}
"""


# The library keeps tables of names outside its contexts, and makes no promise about threads.
_LIBRARY = threading.Lock()


class NftError(Exception):
    """What nft refused, in its own words."""


class Nft:
    def __init__(self) -> None:
        self._nft = Nftables()
        self._nft.set_json_output(True)
        # Names of protocols and types come from files that a small image may lack.
        self._nft.set_numeric_proto_output(True)
        self._nft.set_numeric_symbol_output(True)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._socket.settimeout(5)
        self._has: dict[str, bool] = {}
        self._ours: tuple[int, int] | None = None

    def close(self) -> None:
        self._socket.close()

    def run(self, commands: str) -> None:
        """Commands in nft syntax, as one transaction: all of them take effect or none."""
        before = self.generation()
        with _LIBRARY:
            code, _, error = self._nft.cmd(commands)
        if code:
            raise NftError(_first_lines(error))
        after = self.generation()
        if after != before + 1:
            self._ours = None
        elif self._ours is None or self._ours[1] != before:
            self._ours = before, after
        else:
            self._ours = self._ours[0], after

    def only_ours_since(self, generation: int) -> bool:
        """Whether all that was committed since then were commands that were run here."""
        now = self.generation()
        return now == generation or (
            self._ours is not None and self._ours[0] <= generation and self._ours[1] == now
        )

    def check(self, commands: str) -> None:
        """Like `run`, up to the kernel's own check and no further."""
        self._dry_run(True)
        try:
            self.run(commands)
        finally:
            self._dry_run(False)

    def accepts(self, commands: str) -> bool:
        """Whether the kernel would do it: what it lacks, it refuses."""
        try:
            self.check(commands)
        except NftError:
            return False
        return True

    def has(self, commands: str) -> bool:
        """The same, asked once: of a kernel that doesn't change."""
        if commands not in self._has:
            self._has[commands] = self.accepts(commands)
        return self._has[commands]

    def flowtables(self) -> bool:
        """Whether the kernel has what the fast path is made of."""
        return self.has(_FLOWTABLES)

    def _dry_run(self, on: bool) -> None:
        # Some versions of the binding lack this one switch of the library's.
        switch = CDLL("libnftables.so.1").nft_ctx_set_dry_run
        switch.argtypes = [c_void_p, c_bool]
        switch(self._nft._Nftables__ctx, on)

    def listing(
        self, command: str, *, terse: bool = False, hook: Callable[[dict[str, Any]], Any] | None = None
    ) -> list[dict[str, Any]]:
        """The objects that `list ...` shows; an absent table has none. Terse leaves set elements out; `hook`
        may have something else in the place of any object, as json.loads takes it."""
        with _LIBRARY:
            self._nft.set_terse_output(terse)
            code, output, error = self._nft.cmd(f"list {command}")
        if code:
            if "No such file or directory" in error:
                return []
            raise NftError(_first_lines(error))
        objects: list[dict[str, Any]] = json.loads(output, object_hook=hook)["nftables"] if output else []
        return [item for item in objects if "metainfo" not in item]

    def counters(self, family: str, table: str) -> Iterator[tuple[str, int, int]]:
        """Names, bytes and packets of a table's counters, by a dump of NFT_MSG_GETOBJ: the library takes
        seconds for twenty thousand of them. None where there is no such table."""
        with closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)) as asking:
            asking.bind((0, 0))
            asking.settimeout(10)
            wanted = _string(_OBJECT_TABLE, table) + struct.pack("=HH", 8, _OBJECT_TYPE) + _COUNTER
            header = struct.pack("=IHHII", 20 + len(wanted), _GET_OBJECT, _REQUEST | _DUMP, 1, 0)
            asking.send(header + struct.pack("=BBH", _FAMILIES[family], 0, 0) + wanted)
            while True:
                answer = asking.recv(1 << 20)
                offset = 0
                while offset + 16 <= len(answer):
                    length, kind = struct.unpack_from("=IH", answer, offset)
                    if kind in (_DONE, _ERROR):
                        return
                    found = attributes(answer[offset + 20 : offset + length])
                    if found.get(_OBJECT_TABLE, b"").rstrip(b"\0") == table.encode():
                        counts = attributes(found[_OBJECT_DATA])
                        name = found[_OBJECT_NAME].rstrip(b"\0").decode()
                        count, packets = (int.from_bytes(counts[which], "big") for which in (1, 2))
                        yield name, count, packets
                    offset += (length + 3) & ~3

    def generation(self) -> int:
        """The ruleset's generation: the kernel adds one with every committed transaction, whoever sent
        it, so an unchanged number means an unchanged ruleset (nftables, NFT_MSG_GETGEN)."""
        sequence = int.from_bytes(os.urandom(3), "big")
        header = struct.pack("=IHHII", 20, _GET_GENERATION, 1, sequence, 0)
        self._socket.send(header + struct.pack("=BBH", 0, 0, 0))
        while True:
            reply = self._socket.recv(65536)
            _, kind, _, seen, _ = struct.unpack_from("=IHHII", reply)
            if seen != sequence:
                continue
            if kind != _NEW_GENERATION:
                raise NftError("The kernel doesn't tell the generation of its ruleset")
            number = attributes(reply[20:]).get(_GENERATION_ID)
            if number is None:
                raise NftError("The kernel's answer has no ruleset generation")
            return int.from_bytes(number, "big")


def _string(kind: int, text: str) -> bytes:
    content = text.encode() + b"\0"
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def attributes(content: bytes) -> dict[int, bytes]:
    """A netlink message's attributes by type."""
    found = {}
    offset = 0
    while offset + 4 <= len(content):
        length, kind = struct.unpack_from("=HH", content, offset)
        if length < 4:
            break
        found[kind & _NESTED_MASK] = content[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def _first_lines(error: str) -> str:
    return "\n".join(error.strip().splitlines()[:6])
