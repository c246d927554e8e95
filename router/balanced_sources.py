"""Load balancers of tcp and http that are only for clients in chosen networks, as elements of nft sets:
others don't come as far as HAProxy, and a change of these is no reload. `router/udp_balancing.py` has those
of udp."""

from collections.abc import Iterator

from appliance.memo import per_key, per_sections
from router.document import LoadBalancer, RouterDocument
from router.elements import Elements, collapsed

SETS = [f"tcp_{kind}{version}" for kind in ("limited", "sources") for version in (4, 6)]
"""Which are for chosen sources, and these."""


@per_sections("load_balancers")
def elements(document: RouterDocument) -> Elements:
    found: Elements = {name: {} for name in SETS}
    for made in filter(None, _elements(document.load_balancers).values()):
        for name, element in made:
            found[name][element] = None
    return found


@per_key
def _elements(name: str, item: LoadBalancer) -> tuple[tuple[str, str], ...]:
    return tuple(_limited(item)) if item.source_cidrs and item.mode != "udp" else ()


def _limited(item: LoadBalancer) -> Iterator[tuple[str, str]]:
    version = 6 if ":" in item.address else 4
    place = f"{item.port} . {item.address}"
    yield f"tcp_limited{version}", place
    for source in collapsed(item.source_cidrs):
        # As nft lists a single address.
        yield f"tcp_sources{version}", f"{place} . {source.removesuffix('/128' if version == 6 else '/32')}"
