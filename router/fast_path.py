"""Which connections need no look at the firewall any more: those that it has let through already."""

import hashlib
from collections.abc import Iterator

from appliance.resources import FastPath, Resource
from router import accounting, limits
from router.document import RouterDocument
from router.network import guest_networks, private_links, public_links
from router.ruleset import TABLE


def resources(document: RouterDocument) -> Iterator[Resource]:
    links = (
        *(network.link for network in guest_networks(document)),
        *private_links(document),
        *public_links(document),
    )
    if document.fast_path and links:
        counted = any(True for _ in accounting.resources(document))
        yield FastPath(table=TABLE, links=links, counted=counted, kept_out=_kept_out(document))


def _kept_out(document: RouterDocument) -> str:
    """Names those whose connections stay with the chains, for their limits are there."""
    addresses = sorted(text for elements in limits.kept_out(document).values() for text in elements)
    return hashlib.sha256(" ".join(addresses).encode()).hexdigest()[:16] if addresses else ""
