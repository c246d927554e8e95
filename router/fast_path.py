"""Which connections need no look at the firewall any more: those that it has let through already."""

from collections.abc import Iterator

from appliance.resources import FastPath, Resource
from router import accounting
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
        yield FastPath(table=TABLE, links=links, counted=counted)
