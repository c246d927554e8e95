"""Observe and change traffic counters. Their table is never replaced: people are billed by it. It goes when
nothing is to be counted any more.

The table's chains look packets up in maps from a link or an address to a named counter, so a further
counter is one object and one element, and touches no other.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from appliance import disk
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.engine.ruleset import structure_digest
from appliance.resources import Counter

KIND = "Counter"
TABLE = "sysvm_usage"
DIRECTIONS = ("sent", "received")
"""As a guest sees it: sent goes out by a public address, received comes in by one."""
_NOTE = f"nft-{TABLE}.json"

# Guests' packets are counted after the firewall let them through (priority 10 is behind filter's 0);
# public addresses where they are on the packet itself or, behind the translation, in conntrack.
_STRUCTURE = f"""
table inet {TABLE} {{
    map network_sent {{ type ifname : counter; }}
    map network_received {{ type ifname : counter; }}
    map address_sent {{ type ipv4_addr : counter; }}
    map address_received {{ type ipv4_addr : counter; }}
    chain forward {{
        type filter hook forward priority 10; policy accept;
        counter name iifname map @network_sent
        counter name oifname map @network_received
        iifname "public*" ct direction original counter name ct original ip daddr map @address_received
        iifname "public*" ct direction reply counter name ct reply ip daddr map @address_received
    }}
    chain input {{
        type filter hook input priority 10; policy accept;
        iifname "public*" counter name ip daddr map @address_received
    }}
    chain postrouting {{
        type filter hook postrouting priority 300; policy accept;
        oifname "public*" counter name ip saddr map @address_sent
    }}
}}
"""


def plan(wanted: Sequence[Counter], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    if not wanted:
        if _exists(host):
            yield Change(kind=KIND, name=TABLE, action="delete", run=lambda: _drop(host))
        return
    listing = _listing(host, fresh=fresh)
    if host.note(_NOTE) != _structure(listing):
        yield Change(
            kind=KIND,
            name=TABLE,
            action="update" if listing else "create",
            detail="its rules, without touching a counter",
            run=lambda: _load_structure(host),
        )
    present = {item["counter"]["name"] for item in listing if "counter" in item}
    looked_up = _looked_up(listing) if fresh else present
    names = {_name(counter, direction) for counter in wanted for direction in DIRECTIONS}
    for counter in wanted:
        if not {_name(counter, direction) for direction in DIRECTIONS} <= present & looked_up:
            yield Change(
                kind=KIND,
                name=f"{counter.kind} {counter.of}",
                action="create",
                run=lambda counter=counter: host.nft.run(_creation(counter)),  # type: ignore[misc]
            )
    if gone := sorted(present - names):
        yield Change(
            kind=KIND,
            name=TABLE,
            action="delete",
            detail=f"counters go: {', '.join(gone)}",
            run=lambda: _remove(gone, host),
        )


def _listing(host: Host, *, fresh: bool) -> list[dict[str, Any]]:
    """The table, without what its maps hold unless it is to be fresh: as last seen, for as long as nobody
    has committed anything to nft since."""
    if fresh:
        return host.nft.listing(f"table inet {TABLE}")
    generation = host.nft.generation()
    kept: tuple[int, list[dict[str, Any]]] | None = host.seen.get(KIND)
    if kept is None or kept[0] != generation:
        kept = host.seen[KIND] = generation, host.nft.listing(f"table inet {TABLE}", terse=True)
    return kept[1]


def _structure(listing: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What was sent and what the kernel lists; the counters themselves come and go."""
    structure = [item for item in listing if "counter" not in item]
    return {"sent": hashlib.sha256(_STRUCTURE.encode()).hexdigest(), "listed": structure_digest(structure)}


def _load_structure(host: Host) -> None:
    exists = f"flush table inet {TABLE}\n" if _exists(host) else ""
    host.nft.run(exists + _STRUCTURE)
    listing = host.nft.listing(f"table inet {TABLE}", terse=True)
    disk.write_json(host.state / _NOTE, _structure(listing))


def _looked_up(listing: Sequence[dict[str, Any]]) -> set[str]:
    """Names of the counters that an element leads to."""
    return {element[1] for item in listing if "map" in item for element in item["map"].get("elem", [])}


def _drop(host: Host) -> None:
    host.read_counters()
    host.nft.run(f"delete table inet {TABLE}")
    host.read_counters()


def _remove(names: Sequence[str], host: Host) -> None:
    host.read_counters()
    host.nft.run("".join(map(_removal, names)))
    host.read_counters()


def read(host: Host) -> dict[str, dict[str, dict[str, int]]]:
    """Bytes and packets since each counter was made: `network-guest0` -> `sent` -> `bytes`."""
    totals: dict[str, dict[str, dict[str, int]]] = {}
    for item in host.nft.listing(f"counters table inet {TABLE}") if _exists(host) else []:
        if "counter" in item and item["counter"].get("table") == TABLE:
            of, _, direction = item["counter"]["name"].rpartition("-")
            totals.setdefault(of, {})[direction] = {
                "bytes": item["counter"]["bytes"],
                "packets": item["counter"]["packets"],
            }
    return totals


def _exists(host: Host) -> bool:
    return any(item["table"]["name"] == TABLE for item in host.nft.listing("tables inet") if "table" in item)


def _name(counter: Counter, direction: str) -> str:
    return f"{counter.kind}-{counter.of}-{direction}"


def _creation(counter: Counter) -> str:
    key = f'"{counter.of}"' if counter.kind == "network" else counter.of
    return "".join(
        f"add counter inet {TABLE} {_name(counter, direction)}\n"
        f'add element inet {TABLE} {counter.kind}_{direction} {{ {key} : "{_name(counter, direction)}" }}\n'
        for direction in DIRECTIONS
    )


def _removal(name: str) -> str:
    kind, _, rest = name.partition("-")
    of, _, direction = rest.rpartition("-")
    key = f'"{of}"' if kind == "network" else of
    # Added first: somebody may have taken the element away, and then it couldn't be deleted.
    return (
        f'add element inet {TABLE} {kind}_{direction} {{ {key} : "{name}" }}\n'
        f"delete element inet {TABLE} {kind}_{direction} {{ {key} }}\n"
        f"delete counter inet {TABLE} {name}\n"
    )
