"""The router as a role: its document, its services in order, its checks."""

from collections.abc import Iterator, Sequence
from typing import Any

from appliance.checks import Check
from appliance.services import interfaces, time
from router import accounting, dnsmasq, fast_path, limits, metadata, ruleset
from router.document import RouterDocument
from router.validation import problems

Document = RouterDocument

SERVICES = [
    ruleset,
    limits,
    fast_path,
    interfaces,
    dnsmasq,
    metadata,
    accounting,
    time,
]

SEALED = [("metadata", "*", "guests", "*", "password")]


def checks(document: RouterDocument) -> Iterator[Check]:
    for service in (interfaces, dnsmasq, metadata, time):
        yield from service.checks(document)


def origins(document: RouterDocument, stage: Any) -> Sequence[str]:
    # With the first question: nobody asks one while an agent starts.
    from router import explain

    return explain.origins(document, stage)


__all__ = ["SEALED", "SERVICES", "Document", "checks", "origins", "problems"]
