"""The router as a role: its document, its services in order, its checks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from appliance.checks import Check
from appliance.resources import Resource
from appliance.services import interfaces, time
from router import (
    accounting,
    acl,
    alg,
    dnsmasq,
    fast_path,
    firewall,
    ipsec,
    l2tp,
    limits,
    load_balancing,
    metadata,
    packet_log,
    redundancy,
    remote_access,
    ruleset,
    transparent,
    tunnel_filter,
    tunnel_names,
    udp_balancing,
    ways_out,
    wireguard,
)
from router.document import RouterDocument
from router.validation import lapsed, problems, warnings

Document = RouterDocument

SERVICES = [
    ruleset,
    ways_out,
    transparent,
    limits,
    alg,
    fast_path,
    interfaces,
    dnsmasq,
    metadata,
    load_balancing,
    udp_balancing,
    wireguard,
    ipsec,
    remote_access,
    tunnel_filter,
    tunnel_names,
    l2tp,
    accounting,
    packet_log,
    time,
]

SEALED = [("metadata", "*", "guests", "*", "password")]

APIS: Mapping[str, str] = {}


def settled(document: RouterDocument, wanted: Iterable[Resource]) -> Iterator[Resource]:
    """What services want, as it is on one router of a pair."""
    return redundancy.settled(document, wanted)


def counted(document: RouterDocument) -> Mapping[tuple[str, str, str], tuple[str, ...]]:
    """The places in the document (RFC 6901) of the rules behind each element that counts, by table, set and
    element."""
    lists = {(ruleset.TABLE, *place): (pointer,) for place, pointer in acl.pointers(document).items()}
    rules = {(ruleset.TABLE, *place): several for place, several in firewall.pointers(document).items()}
    return {**lists, **rules}


def checks(document: RouterDocument) -> Iterator[Check]:
    services = (
        interfaces,
        dnsmasq,
        metadata,
        load_balancing,
        wireguard,
        time,
    )
    wanted = (check for service in services for check in service.checks(document))
    return redundancy.settled_checks(document, wanted)


def origins(document: RouterDocument, stage: Any) -> Sequence[str]:
    # With the first question: nobody asks one while an agent starts.
    from router import explain

    return explain.origins(document, stage)


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
