"""What a model can't say about a router's document: rules across its sections, each broken one a sentence.

One module per noun has a `problems` of its own. It names the sections it reads, and is asked again only
when one of them has changed.
"""

from collections.abc import Callable, Iterator, Mapping

from appliance.memo import unchanged
from appliance.model import Problem
from router.document import RouterDocument
from router.validation import (
    dhcp,
    dns,
    firewall,
    interfaces,
    limits,
    metadata,
    nat,
    port_forwards,
    routes,
    sections,
)

Check = Callable[[RouterDocument], Iterator[Problem]]

CHECKS: Mapping[Check, tuple[str, ...]] = {
    interfaces.problems: ("interfaces",),
    routes.problems: ("interfaces", "routes"),
    sections.problems: ("interfaces", "dhcp", "dns", "source_nat", "firewall", "metadata"),
    dhcp.problems: ("interfaces", "dhcp"),
    dns.problems: ("interfaces", "dns"),
    nat.problems: ("interfaces", "source_nat", "static_nat"),
    port_forwards.problems: ("interfaces", "static_nat", "port_forwards"),
    firewall.problems: ("interfaces", "firewall"),
    metadata.problems: ("interfaces", "dhcp", "metadata"),
    limits.problems: ("interfaces", "dhcp", "metadata", "limits"),
}


def problems(document: RouterDocument, known_good: RouterDocument | None = None) -> list[Problem]:
    """All that is wrong. What is unchanged since `known_good`, which had no problems, isn't looked at."""
    found: list[Problem] = []
    for check, read in CHECKS.items():
        if known_good is None or not all(
            unchanged(getattr(document, section), getattr(known_good, section)) for section in read
        ):
            found += check(document)
    return found
