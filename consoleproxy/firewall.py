"""The packet filter: nothing is forwarded, and nothing is let in but browsers and the management plane."""

from collections.abc import Iterator

from appliance.boot import API_PORT
from appliance.resources import Resource, Ruleset, Sysctl
from appliance.template import render
from consoleproxy.document import ConsoleproxyDocument
from consoleproxy.identity import USER

TABLE = "sysvm"
_TCP = 6
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


def resources(document: ConsoleproxyDocument) -> Iterator[Resource]:
    elements: dict[str, dict[str, str | None]] = {"listening4": {}, "listening6": {}}
    for listen in document.listen.values():
        version = 6 if ":" in listen.address else 4
        elements[f"listening{version}"][f"{listen.port} . {listen.address} . {_TCP}"] = None
    text = render("nftables/consoleproxy.nft.j2", api_port=API_PORT, user=USER)
    yield Ruleset(table=TABLE, text=text, elements=elements)
    for name, value in _KERNEL.items():
        yield Sysctl(name=name, value=value)
