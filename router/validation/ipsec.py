"""IPsec tunnels: peers, credentials, proposals and subnets."""

import ipaddress
from collections.abc import Iterator, Mapping
from itertools import combinations

from appliance import certificate
from appliance.model import Problem, pointer
from router.document import RouterDocument, Tunnel
from router.document.ipsec import is_aead
from router.ipsec import pairs, remote_identity
from router.network import PUBLIC, VPN
from router.validation.obsolete import obsolete
from router.validation.repeated import repeated

LEAST_PSK = 16
_MOST_PAIRS = 256


def problems(document: RouterDocument) -> Iterator[Problem]:
    if not document.ipsec:
        return
    own = own_addresses(document, PUBLIC)
    for name, tunnel in document.ipsec.items():
        for place, sentence in _of_tunnel(tunnel, own):
            yield Problem(pointer("ipsec", name, *place), f"Tunnel {name}: {sentence}")
        yield from _subnets(document, name, tunnel)
        if tunnel.link in document.wireguard:
            yield Problem(
                pointer("ipsec", name, "link"),
                f"Tunnel {name}: {tunnel.link} is a tunnel of WireGuard's; each has a name of its own",
            )
    yield from _repeated(document.ipsec)
    for (name, one), (other, two) in combinations(document.ipsec.items(), 2):
        yield from _overlaps(name, one, other, two)


def own_addresses(document: RouterDocument, *kinds: str) -> set[str]:
    """The router's addresses on interfaces of these kinds, without prefix lengths."""
    return {
        address.partition("/")[0]
        for link, interface in document.interfaces.items()
        if link.startswith(kinds)
        for address in interface.addresses
    }


Found = tuple[tuple[str | int, ...], str]
"""Where in the tunnel, and the rest of a sentence."""


def _of_tunnel(tunnel: Tunnel, own: set[str]) -> Iterator[Found]:
    if tunnel.local_address not in own:
        yield ("local_address",), f"{tunnel.local_address} is no address of a public interface"
    yield from _peer(tunnel, own)
    yield from _credentials(tunnel)
    yield from _proposals(tunnel)
    if tunnel.link is not None and not tunnel.link.startswith(VPN):
        yield ("link",), f"{tunnel.link} is no name for a tunnel's link, which is called vpn0, vpn1, ..."


def _peer(tunnel: Tunnel, own: set[str]) -> Iterator[Found]:
    address = _parsed(tunnel.remote_address)
    if remote_identity(tunnel) is None:
        yield (), "a peer from any address needs an ID to be known by"
    if tunnel.version == 1 and tunnel.psk is not None and tunnel.remote_address is None:
        yield (
            (),
            "IKEv1 looks a pre-shared key up by the peer's address, so it needs one; or a certificate",
        )
    if address is None:
        return
    if tunnel.remote_address in own:
        yield ("remote_address",), f"{address} is the router's own address"
    if address.version != ipaddress.ip_address(tunnel.local_address).version:
        yield ("remote_address",), f"{address} and {tunnel.local_address} differ in family"
    for number, subnet in enumerate(tunnel.remote_subnets):
        if address in ipaddress.ip_network(subnet):
            yield ("remote_subnets", number), f"the peer's own address {address} is in {subnet}"


def _parsed(address: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for a host name."""
    try:
        return ipaddress.ip_address(address or "")
    except ValueError:
        return None


def _credentials(tunnel: Tunnel) -> Iterator[Found]:
    if (tunnel.psk is None) == (tunnel.certificate is None):
        yield (), "it needs either a pre-shared key or a certificate"
    if tunnel.psk is not None and len(tunnel.psk.get_secret_value()) < LEAST_PSK:
        yield ("psk",), f"the pre-shared key has less than {LEAST_PSK} characters"
    if tunnel.certificate is None:
        return
    own = tunnel.certificate
    yield from certified(own.certificate, own.private_key.get_secret_value(), ("certificate",))
    if not certificate.parsed(own.peer_authority):
        yield ("certificate", "peer_authority"), "the peer's authority is no certificate in PEM (RFC 7468)"


def certified(pem: str, key: str, at: tuple[str, ...]) -> Iterator[Found]:
    """What is wrong with a certificate, those of intermediate authorities behind it, and its key."""
    found = certificate.parsed(pem)
    if not found:
        yield (*at, "certificate"), "its certificate is none in PEM (RFC 7468)"
        return
    own, *chain = found
    if fault := certificate.chain_fault(own, chain):
        yield (*at, "certificate"), fault
    if fault := certificate.key_fault(own, key, edwards=True):
        yield (*at, "private_key"), fault


def _proposals(tunnel: Tunnel) -> Iterator[Found]:
    for number, ike in enumerate(tunnel.ike.proposals or ()):
        at = ("ike", "proposals", number)
        if tunnel.version == 1 and is_aead(ike.encryption):
            yield at, f"IKEv1 can't be protected by {ike.encryption}"
        if used := obsolete(ike):
            yield from _obsolete(tunnel, at, used)
    for number, esp in enumerate(tunnel.esp.proposals or ()):
        if used := obsolete(esp):
            yield from _obsolete(tunnel, ("esp", "proposals", number), used)


def _obsolete(tunnel: Tunnel, at: tuple[str | int, ...], used: str) -> Iterator[Found]:
    if not tunnel.obsolete:
        yield at, f'{used}: obsolete, and taken only with "obsolete": true'


def _subnets(document: RouterDocument, name: str, tunnel: Tunnel) -> Iterator[Problem]:
    at, what = ("ipsec", name), f"Tunnel {name}"
    found = list(pairs(tunnel.local_subnets, tunnel.remote_subnets))
    if not found:
        yield Problem(pointer(*at, "remote_subnets"), f"{what}: its subnets here and there differ in family")
    if (tunnel.split_subnets or tunnel.version == 1) and len(found) > _MOST_PAIRS:
        yield Problem(
            pointer(*at, "remote_subnets"), f"{what}: {len(found)} pairs of subnets; {_MOST_PAIRS} at most"
        )
    for number, subnet in enumerate(tunnel.local_subnets):
        if not reachable(document, subnet):
            yield Problem(
                pointer(*at, "local_subnets", number),
                f"{what}: {subnet} is on no guest network, and no route leads there",
            )
        for other in tunnel.remote_subnets:
            if overlap(subnet, other):
                yield Problem(
                    pointer(*at, "local_subnets", number),
                    f"{what}: {subnet} overlaps {other} on the far side",
                )
    for number, subnet in enumerate(tunnel.remote_subnets):
        if taken := taken_by(document, subnet):
            yield Problem(pointer(*at, "remote_subnets", number), f"{what}: {subnet} overlaps {taken}")


def reachable(document: RouterDocument, subnet: str) -> bool:
    """Whether a network is on this side: a guest's or a private one, or behind a static route."""
    behind = [route.destination for route in document.routes.values()]
    near = [
        address
        for link, interface in document.interfaces.items()
        if not link.startswith(PUBLIC)
        for address in interface.addresses
    ]
    return not subnet.endswith("/0") and any(overlap(subnet, other) for other in (*near, *behind))


def taken_by(document: RouterDocument, subnet: str) -> str | None:
    """What has addresses of a network that is to be a tunnel's, in words."""
    if subnet.endswith("/0"):
        return "everything"
    for link, interface in document.interfaces.items():
        for address in interface.addresses:
            if overlap(subnet, address):
                return f"the network of {link}"
    for name, route in document.routes.items():
        if not route.destination.endswith("/0") and overlap(subnet, route.destination):
            return f"{route.destination} of route {name}"
    return None


def overlap(one: str, other: str) -> bool:
    if (":" in one) != (":" in other):
        return False
    a, b = ipaddress.ip_interface(one).network, ipaddress.ip_interface(other).network
    return a.overlaps(b)


def _repeated(tunnels: Mapping[str, Tunnel]) -> Iterator[Problem]:
    for key, values in {
        "remote_address": {name: tunnel.remote_address for name, tunnel in tunnels.items()},
        "remote_id": {name: remote_identity(tunnel) for name, tunnel in tunnels.items()},
        "link": {name: tunnel.link for name, tunnel in tunnels.items()},
    }.items():
        told = {name: value for name, value in values.items() if value is not None}
        for name, other, value in repeated(told):
            at = ("ipsec", name, key) if getattr(tunnels[name], key) is not None else ("ipsec", name)
            yield Problem(pointer(*at), f"Tunnel {name}: {value} is tunnel {other}'s, too")


def _overlaps(name: str, one: Tunnel, other: str, two: Tunnel) -> Iterator[Problem]:
    """Two policy-based tunnels may lead to the same network from different ones; else a route would have to
    go both ways."""
    apart = (
        one.link is None
        and two.link is None
        and not any(overlap(here, there) for here in one.local_subnets for there in two.local_subnets)
    )
    for number, subnet in enumerate(two.remote_subnets):
        for wanted in one.remote_subnets if not apart else ():
            if overlap(subnet, wanted):
                yield Problem(
                    pointer("ipsec", other, "remote_subnets", number),
                    f"Tunnel {other}: {subnet} overlaps {wanted} of tunnel {name}",
                )
