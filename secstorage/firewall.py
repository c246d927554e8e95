"""The packet filter: one nft table. Nothing is forwarded, and only what listens is let in."""

from collections.abc import Iterator

from appliance.boot import API_PORT
from appliance.resources import Resource, Ruleset, Sysctl
from appliance.template import render
from secstorage.document import SecstorageDocument
from secstorage.identity import USER
from secstorage.listening import Listener, elements

TABLE = "sysvm"
_KERNEL = {
    "net/ipv4/ip_forward": "0",
    "net/ipv6/conf/all/forwarding": "0",
    # Answer ARP only for the addresses of the link that was asked on, and from them (kernel, ip-sysctl).
    "net/ipv4/conf/all/arp_ignore": "1",
    "net/ipv4/conf/all/arp_announce": "2",
    "net/ipv4/conf/all/accept_redirects": "0",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/all/accept_source_route": "0",
}


def resources(document: SecstorageDocument) -> Iterator[Resource]:
    text = render("nftables/secstorage.nft.j2", api_port=API_PORT, user=USER)
    yield Ruleset(table=TABLE, text=text, elements=elements(listeners(document)))
    for name, value in _KERNEL.items():
        yield Sysctl(name=name, value=value)


def listeners(document: SecstorageDocument) -> Iterator[Listener]:
    """Of each service that has any."""
    yield from ()
