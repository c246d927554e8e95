"""Verdicts that no set is behind: policies, and rules of the structure that one line of a document made."""

import ipaddress
import re
from collections.abc import Iterator, Mapping

from appliance.agent.explanation import Stage
from appliance.model import pointer
from router import acl, limits
from router.document import Limit, RouterDocument
from router.guests import addresses_of, is_address

_SET = re.compile(r"@(\w+)")
_SECTIONS: Mapping[int, str] = {53: "dns", 67: "dhcp", 80: "metadata", 8080: "metadata"}


def origins(document: RouterDocument, stage: Stage) -> Iterator[str]:
    chain, link = stage.chain, stage.link_in
    if stage.table == limits.TABLE:
        yield from _of_limit(document, stage)
    elif chain in ("spoofed", "from_outside", f"from_{link}"):
        yield from _of_spoofing(document, stage)
    elif chain == "spoofed_tunnel":
        yield from (
            pointer("ipsec", name, "remote_subnets")
            for name, tunnel in document.ipsec.items()
            if tunnel.link == link
        )
    elif chain == "ingress" and stage.rule in ("accept", "drop"):
        yield pointer("firewall", "ingress", "policy")
    elif chain.startswith("egress_") and stage.rule in ("accept", "drop"):
        at = ("firewall", "egress", chain.removeprefix("egress_"))
        yield pointer(*at, "policy") if at[2] in document.firewall.egress else pointer(*at[:2])
    elif chain.startswith("acl_") and stage.rule in ("return", "drop"):
        # Behind all its rules.
        for direction in acl.directions(document):
            if direction.chain == chain:
                policy = "ingress_policy" if direction.ingress else "egress_policy"
                yield pointer("acls", direction.acl, policy)
    elif chain.startswith("logged/"):
        place, _, rule = chain.removeprefix("logged/").partition("/")
        way = ("ingress",) if place == "ingress" else ("egress", place)
        yield pointer("firewall", *way, "rules", rule)
    elif chain.startswith("logged_"):
        name, _, rule = chain.removeprefix("logged_").partition("/")
        yield pointer("acls", name, "rules", rule)
    elif chain.startswith("input_"):
        yield from _of_input(document, stage)
    elif chain == "forward_tunnel" and stage.rule == "drop":
        yield from _of_pairs(document, stage)
    elif chain == "forward":
        yield from _of_forward(document, stage)
    elif chain == "translate_source" and "masquerade" in stage.rule.split():
        yield pointer("private_gateways", stage.link_out, "source_nat")


def _of_spoofing(document: RouterDocument, stage: Stage) -> Iterator[str]:
    if "@peers" not in stage.rule:
        yield pointer("interfaces", stage.link_in, "addresses")
    for link in document.wireguard if "@peers" in stage.rule else ():
        yield from _owner(document, link, stage.packet.source)


def _owner(document: RouterDocument, link: str, address: str) -> Iterator[str]:
    """The peer that an address is behind; else the pool that it is of."""
    section, ip = document.wireguard[link], ipaddress.ip_address(address)
    for name, peer in section.peers.items():
        if any(ip in ipaddress.ip_network(network) for network in peer.allowed_ips):
            yield pointer("wireguard", link, "peers", name)
            return
    for number, own in enumerate(section.addresses):
        if ip in ipaddress.ip_interface(own).network:
            yield pointer("wireguard", link, "addresses", number)


def _of_input(document: RouterDocument, stage: Stage) -> Iterator[str]:
    """Guests are served on their own network; through a tunnel it is the address asked that says which."""
    link, port = stage.link_in, stage.packet.port
    if stage.chain != f"input_{link}":
        link = _whose(document, stage.packet.destination)
    section = _SECTIONS.get(port, "")
    if section and link in getattr(document, section):
        yield pointer(section, link)


def _whose(document: RouterDocument, address: str) -> str:
    """The link that has this address of the router's; empty where none has."""
    for link, interface in document.interfaces.items():
        if any(address == own.partition("/")[0] for own in interface.addresses):
            return link
    return ""


def _of_forward(document: RouterDocument, stage: Stage) -> Iterator[str]:
    link, out = stage.link_in, stage.link_out
    if stage.verdict == "accept":
        if link == out:
            yield pointer("interfaces", link)
        elif link in document.wireguard:
            yield pointer("wireguard", link, "source_nat")
        elif "private" in (link.rstrip("0123456789"), out.rstrip("0123456789")):
            yield pointer("private_gateways", link if link.startswith("private") else out)
        return
    # What peers don't reach, and who doesn't reach them.
    for tunnel, address, towards in (
        (link, stage.packet.source, out), (out, stage.packet.destination, link)
    ):  # fmt: skip
        if tunnel in document.wireguard:
            yield from _unreached(document, tunnel, address, towards)
            return


def _unreached(document: RouterDocument, tunnel: str, address: str, towards: str) -> Iterator[str]:
    section = document.wireguard[tunnel]
    if towards.startswith("public"):
        yield pointer("wireguard", tunnel, *(["source_nat"] if section.source_nat else []))
        return
    ip = ipaddress.ip_address(address)
    for name, peer in section.peers.items():
        if any(ip in ipaddress.ip_network(network) for network in peer.allowed_ips):
            at = ("wireguard", tunnel, "peers", name)
            if peer.reach is not None:
                yield pointer(*at, "reach")
            elif section.reach is not None:
                yield pointer("wireguard", tunnel, "reach")
            else:
                yield pointer(*at)
            return
    yield from _owner(document, tunnel, address)


def _of_pairs(document: RouterDocument, stage: Stage) -> Iterator[str]:
    """The tunnels whose far networks one of the two is in: the other is none of their near ones."""
    ends = [ipaddress.ip_address(text) for text in (stage.packet.source, stage.packet.destination)]
    for name, tunnel in document.ipsec.items():
        if any(end in ipaddress.ip_network(network) for end in ends for network in tunnel.remote_subnets):
            yield pointer("ipsec", name, "local_subnets")
    access = document.remote_access
    if access is not None and any(end in ipaddress.ip_network(net) for end in ends for net in access.pool):
        yield pointer("remote_access", *(["subnets"] if access.subnets else []))


def _of_limit(document: RouterDocument, stage: Stage) -> Iterator[str]:
    usual = {
        "usual_connections": "connections",
        "usual_new": "new_connections_per_second",
        "dhcp_packets": "dhcp_packets_per_second",
        "dns_packets": "dns_packets_per_second",
    }
    for name in _SET.findall(stage.rule):
        if name in usual:
            yield pointer("limits", "usual", usual[name])
    if stage.verdict != "drop":
        return
    network = document.limits.networks.get(stage.link_in)
    if stage.chain == "guests" and f'"{stage.link_in}"' in stage.rule and network is not None:
        yield _number(("limits", "networks", stage.link_in), network, stage)
    if stage.chain.startswith("guests_"):
        for key, limit in document.limits.guests.items():
            if stage.packet.source in ([key] if is_address(key) else addresses_of(key, document)):
                yield _number(("limits", "guests", key), limit, stage)
    address = document.limits.addresses.get(stage.packet.destination)
    if stage.chain.startswith("addresses_") and address is not None:
        yield _number(("limits", "addresses", stage.packet.destination), address, stage)


def _number(at: tuple[str, ...], limit: Limit, stage: Stage) -> str:
    """Which of a limit's numbers; where it has none, that is the usual one."""
    field = "connections" if "ct count" in stage.rule else "new_connections_per_second"
    return pointer(*at, field) if getattr(limit, field) else pointer("limits", "usual", field)
