"""The console proxy as a role: its document, its services in order, its checks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from appliance.checks import Check
from appliance.resources import Resource
from appliance.services import interfaces, time
from consoleproxy import console, firewall
from consoleproxy.document import ConsoleproxyDocument
from consoleproxy.validation import lapsed, problems, warnings

Document = ConsoleproxyDocument

SERVICES = [firewall, interfaces, console, time]

SEALED: list[tuple[str, ...]] = []

APIS = {"console": console.SOCKET}


def settled(document: ConsoleproxyDocument, wanted: Iterable[Resource]) -> Iterator[Resource]:
    """No appliance of this role has a part in a pair."""
    yield from wanted


def checks(document: ConsoleproxyDocument) -> Iterator[Check]:
    for service in (interfaces, console, time):
        yield from service.checks(document)


def counted(document: ConsoleproxyDocument) -> Mapping[tuple[str, str, str], tuple[str, ...]]:
    """No rule of a document counts."""
    return {}


def origins(document: ConsoleproxyDocument, stage: Any) -> Sequence[str]:
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
