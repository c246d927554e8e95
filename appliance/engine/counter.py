"""Observe and change traffic counters. Their table is never replaced: people are billed by it.

The table's chains look packets up in maps from a link or an address to a named counter, so a further
counter is one object and one element, and touches no other.
"""

from collections.abc import Iterator, Sequence

from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import Counter

KIND = "Counter"
TABLE = "sysvm_usage"
DIRECTIONS = ("sent", "received")
"""As a guest sees it: sent goes out by a public address, received comes in by one."""

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
    exists, present = _observe(host, fresh=fresh)
    if wanted and not exists:
        yield Change(kind=KIND, name=TABLE, action="create", run=lambda: host.nft.run(_STRUCTURE))
    names = {_name(counter, direction) for counter in wanted for direction in DIRECTIONS}
    for counter in wanted:
        if not {_name(counter, direction) for direction in DIRECTIONS} <= present:
            yield Change(
                kind=KIND,
                name=f"{counter.kind} {counter.of}",
                action="create",
                run=lambda counter=counter: host.nft.run(_creation(counter)),  # type: ignore[misc]
            )
    for name in sorted(present - names):
        yield Change(
            kind=KIND,
            name=name,
            action="delete",
            run=lambda name=name: host.nft.run(_removal(name)),  # type: ignore[misc]
        )


def _observe(host: Host, *, fresh: bool) -> tuple[bool, set[str]]:
    """Whether the table exists, and the names of its counters: as last seen, while nobody has committed
    anything to nft since."""
    generation = host.nft.generation()
    kept: tuple[int, tuple[bool, set[str]]] | None = host.seen.get(KIND)
    if kept is None or kept[0] != generation or fresh:
        listing = host.nft.listing(f"table inet {TABLE}", terse=True)
        names = {item["counter"]["name"] for item in listing if "counter" in item}
        kept = host.seen[KIND] = generation, (bool(listing), names)
    return kept[1]


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
    return (
        f"delete element inet {TABLE} {kind}_{direction} {{ {key} }}\ndelete counter inet {TABLE} {name}\n"
    )
