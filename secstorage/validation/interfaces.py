"""Interfaces and routes."""

from collections.abc import Iterator

from appliance.model import Problem, pointer
from appliance.validation import interfaces, routes
from secstorage.document import SecstorageDocument

_KINDS = ("public", "storage", "private")


def problems(document: SecstorageDocument) -> Iterator[Problem]:
    for link in document.interfaces:
        if not link.startswith(_KINDS):
            yield Problem(
                pointer("interfaces", link),
                f"Interface {link}: secondary storage has public, private and storage interfaces (storage0, "
                "...); the control interface comes with boot data",
            )
    yield from interfaces.problems(document)
    yield from routes.problems(document)
    ways = sorted(link for link, interface in document.interfaces.items() if interface.gateways)
    for link in ways[1:]:
        yield Problem(
            pointer("interfaces", link, "gateway"),
            f"Interface {link}: {ways[0]} has a default gateway already",
        )
