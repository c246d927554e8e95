"""Secondary storage as a role: its document, its services in order, its checks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from appliance.checks import Check
from appliance.model import Problem
from appliance.resources import Resource
from appliance.services import interfaces, time
from secstorage import firewall, mounts, storage
from secstorage.document import SecstorageDocument
from secstorage.validation import problems

Document = SecstorageDocument

SERVICES = [firewall, interfaces, mounts, storage, time]

SEALED: list[tuple[str, ...]] = []

APIS = {"storage": storage.SOCKET}


def settled(document: SecstorageDocument, wanted: Iterable[Resource]) -> Iterator[Resource]:
    """No appliance of this role has a part in a pair."""
    yield from wanted


def checks(document: SecstorageDocument) -> Iterator[Check]:
    for service in (interfaces, storage, time):
        yield from service.checks(document)


def counted(document: SecstorageDocument) -> Mapping[tuple[str, str, str], tuple[str, ...]]:
    """No rule of a document counts."""
    return {}


def lapsed(document: SecstorageDocument, running: SecstorageDocument | None = None) -> list[Problem]:
    """Nothing in it has a time."""
    return []


def warnings(document: SecstorageDocument) -> list[Problem]:
    return []


def origins(document: SecstorageDocument, stage: Any) -> Sequence[str]:
    """What the packet filter says follows from no line of the document."""
    return ()


__all__ = [
    "APIS",
    "SEALED",
    "SERVICES",
    "Document",
    "checks",
    "counted",
    "lapsed",
    "origins",
    "problems",
    "settled",
    "warnings",
]
