"""Application level gateways (RFC 2663, section 2.9): nft's `ct helper` objects, each in a table of its own.
So a kernel that lacks one has the others, and a change of one is nobody else's.

A connection gets its helper with its first packet, before it is translated: what a helper writes into a
stream may be longer or shorter than what was there, and only a translation that knows of the helper makes
room for the shifted sequence numbers (kernel, nf_nat_core.c).
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from appliance.resources import Resource, Ruleset
from appliance.template import render
from router.document import Alg, AlgName, RouterDocument


class Kind(NamedTuple):
    protocols: tuple[str, ...]
    port: int
    versions: str = "inet"
    """nft's word for the families of IP that the kernel's helper knows."""


KINDS: Mapping[AlgName, Kind] = {
    "ftp": Kind(("tcp",), 21),
    # Its tunnels are GRE with call IDs, of IPv4 alone.
    "pptp": Kind(("tcp",), 1723, "ip"),
    "sip": Kind(("tcp", "udp"), 5060),
    "tftp": Kind(("udp",), 69),
}


def table(name: AlgName) -> str:
    return f"sysvm_{name}"


def resources(document: RouterDocument) -> Iterator[Resource]:
    for name, alg in document.alg.items():
        yield Ruleset(
            table=table(name),
            text=render(
                "nftables/alg.nft.j2", table=table(name), helper=name, kind=KINDS[name],
                ports=ports(name, alg),
            ),
            required=_object(name),
            # The kernel brings what reads by itself, and what translates only if it is told to.
            modules=(f"nf_nat_{name}",),
        )  # fmt: skip


def ports(name: AlgName, alg: Alg) -> list[int]:
    return sorted(set(alg.ports or [KINDS[name].port]))


def _object(name: AlgName) -> str:
    kind = KINDS[name]
    parts = f'type "{name}" protocol {kind.protocols[0]}; l3proto {kind.versions};'
    return f"table inet sysvm_probe {{ ct helper probe {{ {parts} }}; }}"
