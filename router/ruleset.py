"""The packet filter and the address translation: one nft table, of few rules and many elements."""

from collections.abc import Iterator

from appliance.boot import API_PORT
from appliance.resources import Resource, Ruleset, Sysctl
from appliance.template import render
from router import (
    acl,
    admission,
    balanced_sources,
    firewall,
    firewall_gates,
    gates,
    ipsec,
    limits,
    listening,
    load_balancing,
    nat,
    port_forward,
    redundancy,
    transparent,
    tunnel_filter,
    tunnel_names,
    udp_balancing,
    ways_out,
    wireguard,
)
from router.document import RouterDocument
from router.forwarding import any_of, forwarding
from router.listening import Listener
from router.logged import LOG_GROUP
from router.network import guest_networks
from router.paths import paths

TABLE = "sysvm"
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
    ways = ways_out.ways_out(document)
    filtered = tunnel_filter.tunnel_filter(document)
    text = acl.text(document) + render(
        "nftables/router.nft.j2",
        networks=networks,
        forwarding=forwarding(document),
        any_of=any_of,
        ways=ways,
        vrrp_paths=paths(document),
        sync=redundancy.sync(document),
        api_port=API_PORT,
        fast_path=document.fast_path,
        limited=any(limits.kept_out(document).values()),
        logged_rules=firewall.logged(document),
        log_group=LOG_GROUP,
        ingress_policy=document.firewall.ingress.policy,
        egress_policies={
            network.link: egress.policy if (egress := document.firewall.egress.get(network.link)) else "drop"
            for network in networks
        },
        tunnels=wireguard.rules(document),
        tunnel_links=list(document.wireguard),
        named=list(document.dns),
        reachable=wireguard.reachable(document),
        ipsec_tunnels=filtered,
        transparent_mark=transparent.MARK if transparent.is_used(document) else 0,
        names=tunnel_names.servers(document),
        names_from=[*document.wireguard, *(filtered.links if filtered is not None else ())],
    )
    elements = {
        **port_forward.elements(document),
        **nat.elements(document),
        **ways_out.elements(document),
        **udp_balancing.elements(document),
        **balanced_sources.elements(document),
        **firewall.elements(document),
        **acl.elements(document),
        **tunnel_filter.elements(document),
        **listening.elements(listeners(document)),
        **wireguard.elements(document),
        **limits.kept_out(document),
        **redundancy.elements(document),
    }
    yield Ruleset(
        table=TABLE,
        text=text,
        elements=elements,
        admissions=admission.admissions(document),
        admitted=admission.admitted(document),
        gates=(*gates.gates(document), *firewall_gates.firewall_gates(document)),
        users=tunnel_filter.users(document),
        ended=("ended4", "ended6"),
        counting=acl.counting(document) | firewall.COUNTING,
    )
    for name, value in _KERNEL.items():
        yield Sysctl(name=name, value=value)


def listeners(document: RouterDocument) -> Iterator[Listener]:
    """Of each service that has any."""
    yield from redundancy.listeners(document)
    yield from load_balancing.listeners(document)
    yield from wireguard.listeners(document)
    yield from ipsec.listeners(document)
