"""Names, upstreams, and the networks that may know one another."""

from collections.abc import Iterator

from appliance.model import Problem, pointer
from router.document import RouterDocument


def problems(document: RouterDocument) -> Iterator[Problem]:
    own = {address.partition("/")[0] for item in document.interfaces.values() for address in item.addresses}
    for link, section in document.dns.items():
        at = ("dns", link)
        for number, other in enumerate(section.networks):
            if other not in document.dns or other == link:
                yield Problem(
                    pointer(*at, "networks", number), f"{other} is no other network with a DNS domain"
                )
            elif document.dns[other].domain == section.domain:
                yield Problem(
                    pointer(*at, "networks", number),
                    f"{other} has the same domain {section.domain}, so its names can't be told apart",
                )
        for number, upstream in enumerate(section.upstreams):
            if upstream.address in own:
                yield Problem(
                    pointer(*at, "upstreams", number, "address"),
                    f"Upstream {upstream.address} is this router itself",
                )
        names = section.records.keys() | section.mail.keys() | section.texts.keys()
        for alias in section.aliases:
            if alias in names:
                yield Problem(
                    pointer(*at, "aliases", alias), f"Alias {alias} has other records, too (RFC 1034, 3.6.2)"
                )
