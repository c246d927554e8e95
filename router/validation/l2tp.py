"""L2TP: the address, the key, the pool, and passwords that pppd would take for something else."""

import ipaddress
from collections.abc import Iterator

from appliance.address import port_range
from appliance.model import Problem, pointer
from router.document import L2tp, RemoteAccess, RouterDocument
from router.l2tp import PORT
from router.network import PUBLIC
from router.validation.ipsec import LEAST_PSK, overlap, own_addresses, taken_by

_LEAST_BITS = 3
_MOST_BITS = 24
_FILE = "@/"
_IKE_PORTS = (500, 4500)


def problems(document: RouterDocument) -> Iterator[Problem]:
    access = document.remote_access
    if access is None or access.l2tp is None:
        return
    for place, sentence in _found(document, access.l2tp):
        yield Problem(pointer("remote_access", "l2tp", place), f"L2TP: {sentence}")
    for sentence in _pool(document, access, access.l2tp):
        yield Problem(pointer("remote_access", "l2tp", "pool"), f"L2TP: {sentence}")
    for name, user in access.users.items():
        if user.password.get_secret_value().startswith(_FILE):
            yield Problem(
                pointer("remote_access", "users", name, "password"),
                f"User {name}: pppd takes a password that begins with {_FILE} for the name of a file",
            )


def _found(document: RouterDocument, server: L2tp) -> Iterator[tuple[str, str]]:
    if server.address not in own_addresses(document, PUBLIC):
        yield "address", f"{server.address} is no address of a public interface"
    elif server.address in document.static_nat:
        yield "address", f"static NAT of {server.address} takes all that comes to it"
    for name, forward in document.port_forwards.items():
        first, last = port_range(forward.ports)
        for port in (*_IKE_PORTS, PORT):
            if forward.protocol == "udp" and forward.address == server.address and first <= port <= last:
                yield "address", f"port forward {name} takes UDP port {port} of {server.address}"
    if len(server.psk.get_secret_value()) < LEAST_PSK:
        yield "psk", f"the pre-shared key has less than {LEAST_PSK} characters"


def _pool(document: RouterDocument, access: RemoteAccess, server: L2tp) -> Iterator[str]:
    pool = ipaddress.IPv4Network(server.pool)
    if not _LEAST_BITS <= pool.max_prefixlen - pool.prefixlen <= _MOST_BITS:
        yield f"{pool} has too few or too many addresses for a pool"
    if taken := taken_by(document, server.pool):
        yield f"{pool} overlaps {taken}"
    for network in access.pool if access.ikev2 else ():
        if overlap(server.pool, network):
            yield f"{pool} overlaps {network}, the pool of users by IKEv2"
    for link, section in document.wireguard.items():
        for place, network in section.networks(link):
            if not network.endswith("/0") and overlap(server.pool, network):
                yield f"{pool} overlaps {network} of {place}"
    for name, tunnel in document.ipsec.items():
        for subnet in (*tunnel.remote_subnets, *tunnel.local_subnets):
            if overlap(server.pool, subnet):
                yield f"{pool} overlaps {subnet} of tunnel {name}"
