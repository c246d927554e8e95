"""libnftables through its Python binding, and the kernel's generation number of the ruleset."""

import json
import os
import socket
import struct
import threading
from ctypes import CDLL, c_bool, c_void_p
from typing import Any

from nftables import Nftables

_NETLINK_NETFILTER = 12
_GET_GENERATION = 10 << 8 | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN
_NEW_GENERATION = 10 << 8 | 15
_GENERATION_ID = 1  # NFTA_GEN_ID


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
        self._flowtables: bool | None = None

    def close(self) -> None:
        self._socket.close()

    def run(self, commands: str) -> None:
        """Commands in nft syntax, as one transaction: all of them take effect or none."""
        with _LIBRARY:
            code, _, error = self._nft.cmd(commands)
        if code:
            raise NftError(_first_lines(error))

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

    def flowtables(self) -> bool:
        """Whether the kernel has what the fast path is made of; asked once."""
        if self._flowtables is None:
            self._flowtables = self.accepts(_FLOWTABLES)
        return self._flowtables

    def _dry_run(self, on: bool) -> None:
        # Some versions of the binding lack this one switch of the library's.
        switch = CDLL("libnftables.so.1").nft_ctx_set_dry_run
        switch.argtypes = [c_void_p, c_bool]
        switch(self._nft._Nftables__ctx, on)

    def listing(self, command: str, *, terse: bool = False) -> list[dict[str, Any]]:
        """The objects that `list ...` shows; an absent table has none. Terse leaves set elements out."""
        with _LIBRARY:
            self._nft.set_terse_output(terse)
            code, output, error = self._nft.cmd(f"list {command}")
        if code:
            if "No such file or directory" in error:
                return []
            raise NftError(_first_lines(error))
        objects: list[dict[str, Any]] = json.loads(output)["nftables"] if output else []
        return [item for item in objects if "metainfo" not in item]

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
            return _attribute(reply[20:], _GENERATION_ID)


def _attribute(payload: bytes, wanted: int) -> int:
    offset = 0
    while offset + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, offset)
        if kind == wanted:
            return int.from_bytes(payload[offset + 4 : offset + length], "big")
        offset += (length + 3) & ~3
    raise NftError("The kernel's answer has no ruleset generation")


def _first_lines(error: str) -> str:
    return "\n".join(error.strip().splitlines()[:6])
