"""Observe and change the one thing that nft can't say: filling in UDP checksums (xt_CHECKSUM).

Through python-iptables, in a chain of our own of the legacy mangle table. The rule matches on link,
protocol and source address alone, which every version of the library can express.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import ChecksumFill

KIND = "ChecksumFill"
_CHAIN = "SYSVM"


def _library() -> Any:
    """python-iptables. It looks for a target's name in all tables that it knows of, and a table that was
    looked into stays: its hooks are on every packet's way."""
    import iptc

    iptc.Table.ALL = [iptc.Table.MANGLE]
    return iptc


def available() -> bool:
    """Whether this machine has the library and its kernel the legacy mangle table."""
    try:
        iptc = _library()
        return bool(iptc.is_table_available(iptc.Table.MANGLE))
    except (ImportError, OSError, Exception):  # the library raises its own error where it finds no kernel
        return False


def plan(wanted: Sequence[ChecksumFill], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    if "checksum" not in host.seen:
        host.seen["checksum"] = available()
    if not host.seen["checksum"]:
        return
    present = _observe()
    keys = {(fill.link, fill.source) for fill in wanted}
    if present is None and not keys:
        return
    if present is None or present != keys:
        yield Change(
            kind=KIND,
            name=f"mangle {_CHAIN}",
            action="delete" if not keys else "create" if present is None else "update",
            detail=", ".join(f"{source} on {link}" for link, source in sorted(keys)),
            run=lambda: _write(keys),
        )


def _table() -> Any:
    iptc = _library()
    table = iptc.Table(iptc.Table.MANGLE)
    table.refresh()
    return table


def _observe() -> set[tuple[str, str]] | None:
    """Link and source address of each of our rules; None where our chain is not hooked in."""
    iptc, table = _library(), _table()
    hooked = any(rule.target.name == _CHAIN for rule in iptc.Chain(table, "POSTROUTING").rules)
    if not hooked or not table.is_chain(_CHAIN):
        return None
    return {(rule.out_interface, rule.src.partition("/")[0]) for rule in iptc.Chain(table, _CHAIN).rules}


def _write(keys: set[tuple[str, str]]) -> None:
    iptc, table = _library(), _table()
    table.autocommit = False
    try:
        postrouting = iptc.Chain(table, "POSTROUTING")
        for rule in postrouting.rules:
            if rule.target.name == _CHAIN:
                postrouting.delete_rule(rule)
        if table.is_chain(_CHAIN):
            table.flush_entries(_CHAIN)
            table.delete_chain(_CHAIN)
        if keys:
            chain = table.create_chain(_CHAIN)
            for link, source in sorted(keys):
                rule = iptc.Rule()
                rule.protocol, rule.out_interface, rule.src = "udp", link, source
                target = iptc.Target(rule, "CHECKSUM")
                target.checksum_fill = ""
                rule.target = target
                chain.append_rule(rule)
            jump = iptc.Rule()
            jump.target = iptc.Target(jump, _CHAIN)
            postrouting.insert_rule(jump)
        table.commit()
    finally:
        table.autocommit = True
        table.refresh()
