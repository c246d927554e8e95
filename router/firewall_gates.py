"""Where connections meet the firewall's rules, in conntrack's terms: what they refuse now is to end.

Drop maps are asked before accept maps, then the policy decides, as by the chains `ingress` and `egress`.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from appliance.admission import Gate
from appliance.memo import per_sections
from router import gates
from router.document import RouterDocument
from router.document.text import Verdict
from router.elements import PROTOCOLS
from router.firewall import MATCHES, logged
from router.network import guest_networks, public_links, routed_networks

_L2TP = "1701"
_VERSIONS = (4, 6)
Lookups = tuple[tuple[str, tuple[str, ...]], ...]


@per_sections(
    "interfaces",
    "routes",
    "firewall",
    "source_nat",
    "tiers",
    "wireguard",
    "ipsec",
    "remote_access",
    "private_gateways",
)
def firewall_gates(document: RouterDocument) -> tuple[Gate, ...]:
    return (*_ingress(document), *_egress(document))


def _ingress(document: RouterDocument) -> Iterator[Gate]:
    """What comes from outside to a public address, or to a guest's own."""
    met = [*_public(document), *routed_networks(document)]
    inside = _inside(document)
    access = document.remote_access
    for version in _VERSIONS:
        here = _of(version, met)
        if not here:
            continue
        # Tunnels' ends need no rule.
        opened: Lookups = (
            (f"open_ports{version}", ("port", "destination", "protocol")),
            (f"open_protocols{version}", ("destination", "protocol")),
        )
        exempt: tuple[tuple[tuple[str, str], ...], ...] = ()
        if access is not None and access.l2tp is not None:
            # What came out of IPsec; connection tracking doesn't tell that from what came in the clear.
            udp = str(PROTOCOLS["udp"])
            exempt = ((("destination", access.l2tp.address), ("protocol", udp), ("port", _L2TP)),)
        yield Gate(
            name=f"ingress {version}",
            version=version,
            end="destination",
            networks=tuple(here),
            apart=(),
            own=(),
            aside=tuple(("source", network) for network in _of(version, inside)),
            exempt=exempt,
            lookups=(*opened, *_lookups("ingress", "source", "destination", "port", version)),
            passing=_passing(document),
            passes=document.firewall.ingress.policy == "accept",
        )


def _egress(document: RouterDocument) -> Iterator[Gate]:
    """What guests of isolated networks begin with the outside."""
    inside = _inside(document)
    for network in guest_networks(document):
        if network.link in document.tiers:
            continue
        egress = document.firewall.egress.get(network.link)
        policy: Verdict = egress.policy if egress is not None else "drop"
        for version in _VERSIONS:
            networks = network.cidrs if version == 4 else network.cidrs6
            if networks:
                yield Gate(
                    name=f"egress {network.link} {version}",
                    version=version,
                    end="source",
                    networks=networks,
                    apart=(),
                    own=(),
                    aside=tuple(("reply_source", other) for other in _of(version, inside)),
                    lookups=_lookups("egress", "reply_source", "source", "reply_port", version),
                    passing=_passing(document),
                    passes=policy == "accept",
                )


def _lookups(
    direction: Literal["ingress", "egress"], far: str, near: str, port: str, version: int
) -> Lookups:
    six = "6" if version == 6 else ""
    fields = {
        "ports": (port, "protocol", far, near),
        "crowd": (far, near, "protocol", port),
        "icmp": (far, near, "icmp_type"),
        "protocol": (far, near, "protocol"),
    }
    return tuple(
        (f"{direction}_{verdict}_{match}{six}", fields[match])
        for verdict in ("drop", "accept")
        for match in (*MATCHES, "crowd")
    )


def _passing(document: RouterDocument) -> frozenset[str | None]:
    accepting = (f"goto {rule.chain}" for rule in logged(document) if rule.verdict == "accept")
    return frozenset({None, "accept", *accepting})


def _public(document: RouterDocument) -> Iterator[str]:
    for link in public_links(document):
        for text in document.interfaces[link].addresses:
            yield text.partition("/")[0]


def _inside(document: RouterDocument) -> list[str]:
    """All networks that aren't by a public interface, and the router's own addresses."""
    behind = gates.behind(document)
    public = set(public_links(document))
    networks = (network for link, several in behind.items() if link not in public for network in several)
    return sorted({*networks, *gates.own_addresses(document)})


def _of(version: int, networks: Sequence[str]) -> list[str]:
    return [text for text in networks if (":" in text) == (version == 6)]
