"""Certificates of load balancers, and the time of those of tunnels, too."""

from collections.abc import Iterator

from appliance import certificate
from appliance.memo import per_key
from appliance.model import Problem, pointer
from router.document import Certificate, LoadBalancer, RouterDocument
from router.document.load_balancing import PEM


def problems(document: RouterDocument) -> Iterator[Problem]:
    for found in filter(None, _certificates(document.certificates).values()):
        yield from found


def lapsed(document: RouterDocument, running: RouterDocument | None) -> Iterator[Problem]:
    """Certificates past their time, or before it. One that runs already isn't refused for that: what else
    the document changes must not wait for a new one. Nor is one refused by a router that has nothing yet:
    it may be an old one built anew."""
    if running is not None and running.generation == 0:
        return
    known = {place: pem for place, _, pem in _shown(running)} if running is not None else {}
    for place, whose, pem in _shown(document):
        if known.get(place) != pem and (sentence := certificate.lapse(pem)):
            yield Problem(pointer(*place), f"{whose}: {sentence}")


def _shown(document: RouterDocument) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Place, whose it is, and PEM of all that a document has."""
    for name, item in document.certificates.items():
        yield ("certificates", name, "certificate"), f"Certificate {name}", item.certificate
        if item.chain is not None:
            yield ("certificates", name, "chain"), f"Certificate {name}", item.chain
    for found in filter(None, _authorities(document.load_balancers).values()):
        yield from found
    for name, tunnel in document.ipsec.items():
        if (own := tunnel.certificate) is not None:
            at, whose = ("ipsec", name, "certificate"), f"Tunnel {name}"
            yield (*at, "certificate"), f"{whose}, its certificate", own.certificate
            yield (*at, "peer_authority"), f"{whose}, the peer's authority", own.peer_authority
    if document.remote_access is not None and document.remote_access.ikev2 is not None:
        pem = document.remote_access.ikev2.certificate
        yield ("remote_access", "ikev2", "certificate"), "Remote access, its certificate", pem


@per_key
def _authorities(name: str, item: LoadBalancer) -> tuple[tuple[tuple[str, ...], str, str], ...]:
    """Of servers' certificates."""
    groups = {("load_balancers", name): item} | {
        ("load_balancers", name, "groups", key): group for key, group in item.groups.items()
    }
    return tuple(
        ((*at, "server_tls", "authority"), f"Load balancer {name}, its servers' authority", tls.authority)
        for at, group in groups.items()
        if (tls := group.server_tls) is not None and tls.authority is not None
    )


@per_key
def _certificates(name: str, item: Certificate) -> tuple[Problem, ...]:
    return tuple(
        Problem(pointer("certificates", name, field), f"Certificate {name}: {sentence}")
        for field, sentence in _sentences(item)
    )


def _sentences(item: Certificate) -> Iterator[tuple[str, str]]:
    found = certificate.parsed(item.certificate)
    if len(found) != 1:
        yield "certificate", "there is no one certificate in PEM (RFC 7468); further ones belong in chain"
        return
    (own,) = found
    if item.chain is not None:
        chain = certificate.parsed(item.chain)
        if not chain:
            yield "chain", "there is no certificate in PEM (RFC 7468)"
        if fault := certificate.chain_fault(own, chain):
            yield "chain", fault
    key = item.key.get_secret_value()
    if fault := certificate.key_fault(own, key):
        yield "key", fault
    elif not PEM.fullmatch(key):
        yield "key", "its key is no private key in PEM (RFC 7468)"
