"""Remote access: the pool, what users reach, and the server's certificate."""

import ipaddress
from collections.abc import Iterator

from appliance import certificate
from appliance.model import Problem, pointer
from router.document import Ikev2, RemoteAccess, RouterDocument
from router.network import PUBLIC, guest_networks
from router.remote_access import pools
from router.validation.ipsec import certified, overlap, own_addresses, reachable, taken_by

_LEAST_BITS = 2
_MOST_BITS = 24


def problems(document: RouterDocument) -> Iterator[Problem]:
    access = document.remote_access
    if access is None:
        return
    own = own_addresses(document, PUBLIC)
    for place, sentence in _found(document, access, own):
        yield Problem(pointer("remote_access", *place), f"Remote access: {sentence}")


def _found(
    document: RouterDocument, access: RemoteAccess, own: set[str]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if access.ikev2 is None and access.l2tp is None:
        yield (), "nobody can come: it has neither ikev2 nor l2tp"
    yield from _pool(document, access)
    for number, subnet in enumerate(access.subnets):
        if not reachable(document, subnet):
            yield ("subnets", number), f"{subnet} is on no guest network, and no route leads there"
    known = {network.link for network in guest_networks(document)}
    for name, user in access.users.items():
        for number, link in enumerate(user.reach or ()):
            if link not in known:
                yield (
                    ("users", name, "reach", number),
                    f"user {name}: {link} is no guest interface with an IPv4 address",
                )
    for number, address in enumerate(access.dns):
        if all((":" in address) != (":" in network) for network in pools(access)):
            yield ("dns", number), f"{address} is of a family that no user has an address of"
    if access.source_nat is not None:
        if not access.full_tunnel:
            yield ("source_nat",), "with a split tunnel no user goes out to the internet by the router"
        elif access.source_nat not in own or ":" in access.source_nat:
            yield ("source_nat",), f"{access.source_nat} is no IPv4 address of a public interface"
    if access.ikev2 is not None:
        yield from _server(access.ikev2, own)


def _server(server: Ikev2, own: set[str]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if server.address not in own:
        yield ("ikev2", "address"), f"{server.address} is no address of a public interface"
    wrong = list(certified(server.certificate, server.private_key.get_secret_value(), ("ikev2",)))
    yield from wrong
    if not wrong and not certificate.names(certificate.parsed(server.certificate)[0], server.identity):
        yield (
            ("ikev2", "identity"),
            f"the certificate doesn't have {server.identity} as a subject alternative name",
        )


def _pool(document: RouterDocument, access: RemoteAccess) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if (access.ikev2 is None) != (not access.pool):
        yield ("pool",), "a pool is for users by IKEv2, who need one"
    parsed = [ipaddress.ip_network(network) for network in access.pool]
    if len({network.version for network in parsed}) != len(parsed):
        yield ("pool",), "one network per family"
    for number, network in enumerate(parsed):
        at = ("pool", number)
        bits = network.max_prefixlen - network.prefixlen
        if bits < _LEAST_BITS or (bits > _MOST_BITS and network.version == 4):
            yield at, f"{network} has too few or too many addresses for a pool"
        if taken := taken_by(document, str(network)):
            yield at, f"{network} overlaps {taken}"
        for name, tunnel in document.ipsec.items():
            for subnet in (*tunnel.remote_subnets, *tunnel.local_subnets):
                if overlap(str(network), subnet):
                    yield at, f"{network} overlaps {subnet} of tunnel {name}"
