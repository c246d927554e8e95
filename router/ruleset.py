"""The packet filter and the address translation: one nft table, of few rules and many elements."""

import ipaddress
from collections.abc import Iterator

from appliance.boot import API_PORT
from appliance.resources import Resource, Ruleset, Sysctl
from appliance.services.interfaces import link_towards
from appliance.template import render
from router import admission, firewall, limits, listening, nat, port_forward
from router.document import RouterDocument
from router.listening import Listener
from router.network import guest_networks

TABLE = "sysvm"
_UNSPECIFIED = ipaddress.IPv4Network("0.0.0.0/32")
"""What a DHCP client sends from before it has an address (RFC 2131, section 4.1)."""
_KERNEL = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    # Answer ARP only for the addresses of the link that was asked on, and from them: a guest can't reach
    # the control address by asking for it (kernel, ip-sysctl).
    "net/ipv4/conf/all/arp_ignore": "1",
    "net/ipv4/conf/all/arp_announce": "2",
    "net/ipv4/conf/all/accept_redirects": "0",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/all/accept_source_route": "0",
    # Room for tens of thousands of neighbours; a container has its host's.
    "net/ipv4/neigh/default/gc_thresh1": "8192",
    "net/ipv4/neigh/default/gc_thresh2": "32768",
    "net/ipv4/neigh/default/gc_thresh3": "65536",
}


def resources(document: RouterDocument) -> Iterator[Resource]:
    networks = list(guest_networks(document))
    behind = {network.link: [_UNSPECIFIED, ipaddress.IPv4Network(network.cidr)] for network in networks}
    for route in document.routes.values():
        link = link_towards(route.gateway, document.interfaces)
        if link in behind and ":" not in route.destination:
            behind[link].append(ipaddress.IPv4Network(route.destination))
    text = render(
        "nftables/router.nft.j2",
        networks=networks,
        behind={
            # nft refuses overlapping prefixes in one set; a route may lead to a wider network than its link.
            link: [str(network) for network in ipaddress.collapse_addresses(destinations)]
            for link, destinations in behind.items()
        },
        api_port=API_PORT,
        fast_path=document.fast_path,
        limited=any(limits.kept_out(document).values()),
        ingress_policy=document.firewall.ingress.policy,
        egress_policies={
            network.link: egress.policy if (egress := document.firewall.egress.get(network.link)) else "drop"
            for network in networks
        },
    )
    elements = {
        **port_forward.elements(document),
        **nat.elements(document),
        **firewall.elements(document),
        **listening.elements(_listeners(document)),
        **limits.kept_out(document),
    }
    yield Ruleset(
        table=TABLE,
        text=text,
        elements=elements,
        admissions=admission.ADMISSIONS,
        admitted=admission.admitted(document),
    )
    for name, value in _KERNEL.items():
        yield Sysctl(name=name, value=value)


def _listeners(document: RouterDocument) -> Iterator[Listener]:
    """Of each service that has any."""
    yield from ()
