"""Remote access: the pool, what users reach, and the server's certificate."""

import ipaddress
from collections.abc import Iterator

from appliance import certificate
from appliance.model import Problem, pointer
from router.document import RemoteAccess, RouterDocument
from router.network import PUBLIC
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
    yield from _pool(document, access)
    for number, subnet in enumerate(access.subnets):
        if not reachable(document, subnet):
            yield ("subnets", number), f"{subnet} is on no guest network, and no route leads there"
    for number, address in enumerate(access.dns):
        if all((":" in address) != (":" in network) for network in access.pool):
            yield ("dns", number), f"{address} is of a family that no user has an address of"
    if access.source_nat is not None:
        if not access.full_tunnel:
            yield ("source_nat",), "with a split tunnel no user goes out to the internet by the router"
        elif access.source_nat not in own or ":" in access.source_nat:
            yield ("source_nat",), f"{access.source_nat} is no IPv4 address of a public interface"
    server = access.ikev2
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
