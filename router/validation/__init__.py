"""What a model can't say about a router's document: rules across its sections, each broken one a sentence.

One module per noun has a `problems` of its own. It names the sections it reads, and is asked again only
when one of them has changed.
"""

from collections.abc import Callable, Iterator, Mapping

from appliance.memo import unchanged
from appliance.model import Problem
from router.document import RouterDocument
from router.validation import (
    acls,
    alg,
    certificates,
    dhcp,
    dns,
    firewall,
    interfaces,
    ipsec,
    l2tp,
    limits,
    load_balancers,
    metadata,
    nat,
    obsolete,
    port_forwards,
    redundancy,
    remote_access,
    routes,
    sections,
    tunnels,
    wireguard,
)

Check = Callable[[RouterDocument], Iterator[Problem]]

CHECKS: Mapping[Check, tuple[str, ...]] = {
    interfaces.problems: ("interfaces",),
    routes.problems: ("interfaces", "routes", "redundancy"),
    sections.problems: ("interfaces", "dhcp", "dns", "source_nat", "firewall", "metadata"),
    dhcp.problems: ("interfaces", "dhcp"),
    dns.problems: ("interfaces", "dns"),
    nat.problems: ("interfaces", "source_nat", "static_nat"),
    port_forwards.problems: ("interfaces", "static_nat", "port_forwards"),
    certificates.problems: ("certificates",),
    load_balancers.problems: (
        "interfaces",
        "static_nat",
        "port_forwards",
        "load_balancers",
        "certificates",
    ),
    firewall.problems: ("interfaces", "source_nat", "firewall"),
    acls.problems: ("interfaces", "acls", "tiers", "private_gateways", "firewall"),
    redundancy.problems: ("name", "interfaces", "redundancy"),
    metadata.problems: ("interfaces", "dhcp", "metadata"),
    wireguard.problems: ("interfaces", "dns", "static_nat", "port_forwards", "wireguard"),
    ipsec.problems: ("interfaces", "routes", "ipsec", "wireguard"),
    remote_access.problems: ("interfaces", "routes", "ipsec", "remote_access"),
    l2tp.problems: (
        "interfaces",
        "routes",
        "static_nat",
        "port_forwards",
        "wireguard",
        "ipsec",
        "remote_access",
    ),
    tunnels.problems: ("routes", "redundancy", "wireguard", "ipsec", "remote_access"),
    limits.problems: ("interfaces", "dhcp", "metadata", "limits"),
    alg.problems: ("alg",),
}


def lapsed(document: RouterDocument, running: RouterDocument | None = None) -> list[Problem]:
    """What time alone has made wrong, but for what runs already."""
    return list(certificates.lapsed(document, running))


def warnings(document: RouterDocument) -> list[Problem]:
    """What isn't as it should be in a document that runs: it has lapsed, or it is obsolete."""
    return [*certificates.lapsed(document, None), *obsolete.warned(document)]


def problems(document: RouterDocument, known_good: RouterDocument | None = None) -> list[Problem]:
    """All that is wrong. What is unchanged since `known_good`, which had no problems, isn't looked at."""
    found: list[Problem] = []
    for check, read in CHECKS.items():
        if known_good is None or not all(
            unchanged(getattr(document, section), getattr(known_good, section)) for section in read
        ):
            found += check(document)
    return found
