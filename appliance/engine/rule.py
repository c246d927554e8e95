"""Observe and change policy routing rules; ours carry our protocol number (FRA_PROTOCOL)."""

import ipaddress
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from appliance.engine.address import PROTOCOL
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import Rule

KIND = "Rule"
Key = tuple[int, int, str, str, int]


def plan(wanted: Sequence[Rule], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    ours = host.network(KIND, lambda: _observe(host))
    keys = {_wanted_key(rule): rule for rule in wanted}
    for key, rule in keys.items():
        if key not in ours:
            yield Change(
                kind=KIND,
                name=_name(rule),
                action="create",
                run=lambda rule=rule: _change("add", rule, host),  # type: ignore[misc]
            )
    for priority, table, source, link, mark in sorted(ours - keys.keys()):
        gone = Rule(
            priority=priority, table=table, source=source or None, link=link or None, mark=mark or None
        )
        yield Change(
            kind=KIND,
            name=_name(gone),
            action="delete",
            run=lambda gone=gone: _change("del", gone, host),  # type: ignore[misc]
        )


def _observe(host: Host) -> set[Key]:
    return {
        _key(message)
        for family in (socket.AF_INET, socket.AF_INET6)
        for message in host.ip.get_rules(family=family)
        if message.get_attr("FRA_PROTOCOL") == PROTOCOL
    }


def _key(message: Any) -> Key:
    source = message.get_attr("FRA_SRC")
    return (
        message.get_attr("FRA_PRIORITY") or 0,
        message.get_attr("FRA_TABLE") or 0,
        f"{source}/{message['src_len']}" if source else "",
        message.get_attr("FRA_IIFNAME") or "",
        message.get_attr("FRA_FWMARK") or 0,
    )


def _wanted_key(rule: Rule) -> Key:
    return rule.priority, rule.table, rule.source or "", rule.link or "", rule.mark or 0


def _name(rule: Rule) -> str:
    matches = [f"from {rule.source}"] if rule.source else []
    matches += [f"in by {rule.link}"] if rule.link else []
    matches += [f"mark {rule.mark:#x}"] if rule.mark else []
    return f"{rule.priority}: {' '.join(matches) or 'all'} lookup {rule.table}"


def _change(verb: str, rule: Rule, host: Host) -> None:
    arguments: dict[str, Any] = {"priority": rule.priority, "table": rule.table, "FRA_PROTOCOL": PROTOCOL}
    family = socket.AF_INET
    if rule.source:
        network = ipaddress.ip_network(rule.source)
        family = socket.AF_INET if network.version == 4 else socket.AF_INET6
        arguments |= {"src": str(network.network_address), "src_len": network.prefixlen}
    if rule.link:
        arguments["iifname"] = rule.link
    if rule.mark:
        arguments["fwmark"] = rule.mark
    host.ip.rule(verb, family=family, **arguments)
