"""Observe and change policy routing rules; ours carry our protocol number (FRA_PROTOCOL)."""

import ipaddress
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from appliance.engine.address import PROTOCOL
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import Rule

KIND = "Rule"
_FAMILIES: Mapping[Literal[4, 6], int] = {4: socket.AF_INET, 6: socket.AF_INET6}
_NO_SUPPRESSION = 2**32 - 1


def plan(wanted: Sequence[Rule], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    ours = host.network(KIND, lambda: _observe(host))
    rules = dict.fromkeys(map(_whole, wanted))
    for rule in rules:
        if rule not in ours:
            yield Change(
                kind=KIND,
                name=_name(rule),
                action="create",
                run=lambda rule=rule: _change("add", rule, host),  # type: ignore[misc]
            )
    for gone in sorted(ours - rules.keys(), key=_name):
        yield Change(
            kind=KIND,
            name=_name(gone),
            action="delete",
            run=lambda gone=gone: _change("del", gone, host),  # type: ignore[misc]
        )


def _whole(rule: Rule) -> Rule:
    """With the version that its source says."""
    return replace(rule, version=6) if rule.source and ":" in rule.source else rule


def _observe(host: Host) -> set[Rule]:
    return {
        _rule(message, version)
        for version, family in _FAMILIES.items()
        for message in host.ip.get_rules(family=family)
        if message.get_attr("FRA_PROTOCOL") == PROTOCOL
    }


def _rule(message: Any, version: Literal[4, 6]) -> Rule:
    source = message.get_attr("FRA_SRC")
    suppressed = message.get_attr("FRA_SUPPRESS_PREFIXLEN")
    return Rule(
        priority=message.get_attr("FRA_PRIORITY") or 0,
        table=message.get_attr("FRA_TABLE") or 0,
        source=f"{source}/{message['src_len']}" if source else None,
        link=message.get_attr("FRA_IIFNAME"),
        mark=message.get_attr("FRA_FWMARK") or None,
        suppress_prefix_length=None if suppressed in (None, _NO_SUPPRESSION) else suppressed,
        version=version,
    )


def _name(rule: Rule) -> str:
    matches = [f"from {rule.source}"] if rule.source else []
    matches += [f"in by {rule.link}"] if rule.link else []
    matches += [f"mark {rule.mark:#x}"] if rule.mark else []
    suppressed = rule.suppress_prefix_length
    but = "" if suppressed is None else f" but for prefixes up to /{suppressed}"
    family = "IPv6 " if rule.version == 6 and not rule.source else ""
    return f"{rule.priority}: {family}{' '.join(matches) or 'all'} lookup {rule.table}{but}"


def _change(verb: str, rule: Rule, host: Host) -> None:
    arguments: dict[str, Any] = {"priority": rule.priority, "table": rule.table, "FRA_PROTOCOL": PROTOCOL}
    if rule.source:
        network = ipaddress.ip_network(rule.source)
        arguments |= {"src": str(network.network_address), "src_len": network.prefixlen}
    if rule.link:
        arguments["iifname"] = rule.link
    if rule.mark:
        arguments["fwmark"] = rule.mark
    if rule.suppress_prefix_length is not None:
        arguments["FRA_SUPPRESS_PREFIXLEN"] = rule.suppress_prefix_length
    host.ip.rule(verb, family=_FAMILIES[rule.version], **arguments)
