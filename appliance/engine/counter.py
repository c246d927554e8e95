"""Observe and change traffic counters. Their tables are never replaced: people are billed by them. They go
when nothing is to be counted any more.

A table's chains look packets up in maps from a link or an address to a named counter, so a further counter
is one object and an element or two, and touches no other. There are two tables of that name: packets that
take the fast path are seen by the `netdev` family's hooks only.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import Any, cast

from appliance import disk
from appliance.address import ipv4_int
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.engine.nft import NftError
from appliance.engine.ruleset import structure_digest
from appliance.resources import Counter

KIND = "Counter"
TABLE = "sysvm_usage"
DIRECTIONS = ("sent", "received")
"""As a guest sees it: sent goes out by a public address, received comes in by one."""

# Guests' packets are counted after the firewall let them through (priority 10 is behind filter's 0);
# public addresses where they are on the packet itself or, behind the translation, in conntrack.
_CHAINS = """
    map network_sent { type ifname : counter; }
    map network_received { type ifname : counter; }
    map address_sent { type ipv4_addr : counter; }
    map address_received { type ipv4_addr : counter; }
    map guest_sent { type ipv4_addr : counter; }
    map guest_received { type ipv4_addr : counter; }
    map guest6_sent { type ipv6_addr : counter; }
    map guest6_received { type ipv6_addr : counter; }
    chain forward {
        type filter hook forward priority 10; policy accept;
        iifname "public*" goto arriving
        counter name iifname map @network_sent
        counter name ip saddr map @guest_sent
        counter name ip6 saddr map @guest6_sent
        oifname != "public*" goto received
    }
    chain arriving {
        ct direction original counter name ct original ip daddr map @address_received
        ct direction reply counter name ct reply ip daddr map @address_received
        goto received
    }
    chain received {
        counter name oifname map @network_received
        counter name ip daddr map @guest_received
        counter name ip6 daddr map @guest6_received
    }
    chain input {
        type filter hook input priority 10; policy accept;
        iifname "public*" counter name ip daddr map @address_received
    }
    chain postrouting {
        type filter hook postrouting priority 300; policy accept;
        oifname "public*" counter name ip saddr map @address_sent
    }
"""
# Before the flowtable looks at it a packet is marked with where it came from. What the flowtable takes
# leaves with its mark, and is counted; what it does not take loses the mark behind it, and is counted above.
# Marks are numbers like addresses: smaller ones are others' (the kernel's own, of multicast reports). The
# mark of a guest leads to its own counter and to its network's.
_FAST_CHAINS = """
    map network_mark { type ifname : mark; }
    map address_mark { type ipv4_addr : mark; }
    map guest_mark { type ipv4_addr : mark; }
    map guest6_mark { type ipv6_addr : mark; }
    map arrived { type mark : counter; }
    map arrived_guest { type mark : counter; }
    map network_received { type ifname : counter; }
    map address_sent { type ipv4_addr : counter; }
    map guest_received { type ipv4_addr : counter; }
    map guest6_received { type ipv6_addr : counter; }
    chain arriving {
        meta mark set 0xe0000000
        meta mark set iifname map @network_mark
        iifname "public*" meta mark set ip daddr map @address_mark
        iifname "guest*" meta mark set ip saddr map @guest_mark
        iifname "guest*" meta mark set ip6 saddr map @guest6_mark
    }
    chain not_taken {
        meta mark set 0
    }
    chain leaving {
        meta mark < 0x01000000 return
        counter name meta mark map @arrived
        counter name meta mark map @arrived_guest
        counter name oifname map @network_received
        counter name ip daddr map @guest_received
        counter name ip6 daddr map @guest6_received
        oifname "public*" counter name ip saddr map @address_sent
    }
"""
_STRUCTURES = {
    family: f"table {family} {TABLE} {{{chains}}}\n"
    for family, chains in (("inet", _CHAINS), ("netdev", _FAST_CHAINS))
}
_MARKED = {"network": "sent", "address": "received", "guest": "sent"}
"""What is known of a packet only where it arrives."""
_MOST_NAMED = 4
_ETHERNET_BYTES = 14
"""A header that packets have where they leave, and haven't where the others are counted."""
HOOKS = {
    "before": ("ingress", -10, "arriving"),
    "behind": ("ingress", 10, "not_taken"),
    "out": ("egress", 0, "leaving"),
}
"""The chains by which cards lead to those of the `netdev` table: hook, priority, and where to. A flowtable's
priority is 0."""


def plan(wanted: Sequence[Counter], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    for family in _STRUCTURES:
        if family == "inet" or host.nft.flowtables():
            yield from _plan_table(family, wanted, host, fresh=fresh)


def _plan_table(family: str, wanted: Sequence[Counter], host: Host, *, fresh: bool) -> Iterator[Change]:
    table = TABLE if family == "inet" else f"{TABLE} {family}"
    if not wanted:
        if _exists(family, host):
            yield Change(kind=KIND, name=table, action="delete", run=lambda: _drop(family, host))
        return
    listing = _listing(family, host, fresh=fresh)
    text = _text(family, wanted)
    if host.note(_note(family)) != _structure(text, listing):
        yield Change(
            kind=KIND,
            name=table,
            action="update" if listing else "create",
            detail="its rules, without touching a counter",
            run=lambda: _load_structure(family, text, host),
        )
    present = {item["counter"]["name"] for item in listing if "counter" in item}
    elements = _observed_elements(listing)
    names = {_name(counter, direction) for counter in wanted for direction in DIRECTIONS}
    missing = [
        (counter, direction)
        for counter in wanted
        for direction in DIRECTIONS
        if _name(counter, direction) not in present
        or (
            fresh
            and not elements >= {(place, value) for place, _, value in _elements(family, counter, direction)}
        )
    ]
    if missing:
        yield Change(
            kind=KIND,
            name=table,
            action="create",
            detail=_listed({f"{counter.kind} {counter.of}": None for counter, _ in missing}),
            run=lambda: _create(family, missing, host),
        )
    if gone := sorted(present - names):
        yield Change(
            kind=KIND,
            name=table,
            action="delete",
            detail=f"counters go: {_listed(gone)}",
            run=lambda: _remove(family, gone, host),
        )


def _listing(family: str, host: Host, *, fresh: bool) -> list[dict[str, Any]]:
    """The table, without what its maps hold unless it is to be fresh: as last seen, for as long as nobody
    has committed anything to nft since."""
    if fresh:
        return host.nft.listing(f"table {family} {TABLE}")
    # What other kinds commit by the same library changes nothing here; what we do is forgotten by `_run`.
    place = f"{KIND} {family}"
    kept: tuple[int, list[dict[str, Any]]] | None = host.seen.get(place)
    if kept is None or not host.nft.only_ours_since(kept[0]):
        generation = host.nft.generation()
        kept = host.seen[place] = generation, host.nft.listing(f"table {family} {TABLE}", terse=True)
    return kept[1]


def _run(family: str, commands: str, host: Host) -> None:
    host.seen.pop(f"{KIND} {family}", None)
    host.nft.run(commands)


def _create(family: str, missing: Sequence[tuple[Counter, str]], host: Host) -> None:
    come = [{"counter": {"name": _name(counter, direction)}} for counter, direction in missing]
    _run_knowing(family, _creation(family, missing), host, lambda listing: [*listing, *come])


def _run_knowing(
    family: str, commands: str, host: Host, then: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> None:
    """Commands that make of what was last seen what `then` says; where that holds, it isn't listed anew."""
    kept: tuple[int, list[dict[str, Any]]] | None = host.seen.get(f"{KIND} {family}")
    still = kept is not None and host.nft.only_ours_since(kept[0])
    _run(family, commands, host)
    if kept is not None and still and host.nft.only_ours_since(kept[0]):
        host.seen[f"{KIND} {family}"] = kept[0], then(kept[1])


def of_hook(item: dict[str, Any]) -> bool:
    """Whether a listed item is one of the chains that name cards, or a rule of one."""
    return item.get("chain", {}).get("name") in HOOKS or item.get("rule", {}).get("chain") in HOOKS


def hook_text(name: str, devices: str) -> str:
    """The commands that make one of these chains."""
    hook, priority, target = HOOKS[name]
    place = f"netdev {TABLE} {name}"
    return (
        f"add chain {place} {{ type filter hook {hook} {devices} priority {priority}; policy accept; }}\n"
        f"add rule {place} jump {target}\n"
    )


def _note(family: str) -> str:
    return f"nft-{TABLE}.json" if family == "inet" else f"nft-{TABLE}-{family}.json"


def _text(family: str, wanted: Sequence[Counter]) -> str:
    """Without the rules for guests where none is counted, or none of that version of IP: to look in an empty
    map costs a packet as much as in another one. In the fast path they stay: other rules for its table would
    take the cards' hooks away for a moment, in which nothing were counted."""
    if family == "netdev":
        return _STRUCTURES[family]
    guests = [counter.of for counter in wanted if counter.kind == "guest"]
    needed_for = {
        "@guest_": any(":" not in of for of in guests),
        "@guest6_": any(":" in of for of in guests),
    }
    lines = _STRUCTURES[family].splitlines()
    return "".join(
        f"{line}\n" for line in lines if all(needed for word, needed in needed_for.items() if word in line)
    )


def _structure(text: str, listing: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What was sent and what the kernel lists; the counters themselves, and hooks, come and go."""
    structure = [item for item in listing if "counter" not in item and not of_hook(item)]
    sent = hashlib.sha256(text.encode()).hexdigest()
    return {"sent": sent, "listed": structure_digest(structure)}


def _load_structure(family: str, text: str, host: Host) -> None:
    exists = f"flush table {family} {TABLE}\n" if _exists(family, host) else ""
    _run(family, exists + text, host)
    listing = host.nft.listing(f"table {family} {TABLE}", terse=True)
    disk.write_json(host.state / _note(family), _structure(text, listing))


def _observed_elements(listing: Sequence[dict[str, Any]]) -> set[tuple[str, str]]:
    """Map, and what an element of it leads to."""
    return {
        (item["map"]["name"], str(element[1]))
        for item in listing
        if "map" in item
        for element in item["map"].get("elem", [])
    }


def _drop(family: str, host: Host) -> None:
    host.read_counters()
    _run(family, f"delete table {family} {TABLE}", host)
    host.read_counters()


def _remove(family: str, names: Sequence[str], host: Host) -> None:
    host.read_counters()
    commands = "".join(_removal(family, name) for name in names)
    gone = frozenset(names)
    try:
        _run_knowing(
            family,
            commands,
            host,
            lambda listing: [item for item in listing if item.get("counter", {}).get("name") not in gone],
        )
    except NftError:
        # Somebody has taken an element away, and then it can't be deleted. Nothing has been.
        present = {
            (item["map"]["name"], str(element[0]))
            for item in host.nft.listing(f"table {family} {TABLE}")
            if "map" in item
            for element in item["map"].get("elem", [])
        }
        _run(family, "".join(_removal(family, name, present) for name in names), host)
    host.read_counters()


def read(host: Host) -> dict[str, dict[str, dict[str, int]]]:
    """Bytes and packets since each counter was made: `network-guest0` -> `sent` -> `bytes`. What took the
    fast path is apart, as `network-guest0 netdev`: each begins anew for itself."""
    totals: dict[str, dict[str, dict[str, int]]] = {}
    for family in _STRUCTURES:
        for name, count, packets in host.nft.counters(family, TABLE):
            of, _, direction = name.replace("_", ":").rpartition("-")
            headers = _ETHERNET_BYTES * packets if family == "netdev" else 0
            totals.setdefault(of if family == "inet" else f"{of} {family}", {})[direction] = {
                "bytes": count - headers,
                "packets": packets,
            }
    return totals


def _exists(family: str, host: Host) -> bool:
    tables = host.nft.listing(f"tables {family}")
    return any(item["table"]["name"] == TABLE for item in tables if "table" in item)


def _name(counter: Counter, direction: str) -> str:
    # nft takes no colons in a name.
    return f"{counter.kind}-{counter.of.replace(':', '_')}-{direction}"


def _listed(names: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _elements(family: str, counter: Counter, direction: str) -> Iterator[tuple[str, str, str]]:
    """Map, key and value of the elements that lead to a counter."""
    name = _name(counter, direction)
    place = "guest6" if counter.kind == "guest" and ":" in counter.of else counter.kind
    if family == "netdev" and _MARKED[counter.kind] == direction:
        mark = str(_mark(counter))
        yield f"{place}_mark", counter.of, mark
        if counter.kind == "guest":
            yield "arrived_guest", mark, name
            yield "arrived", mark, f"network-{counter.network}-{direction}"
        else:
            yield "arrived", mark, name
    else:
        yield f"{place}_{direction}", counter.of, name


def _mark(counter: Counter) -> int:
    """An address is its own mark. Those of the few networks, and of IPv6, are where nobody's address is
    (240.0.0.0/4)."""
    if counter.kind == "network" or ":" in counter.of:
        return 0xF0000000 | zlib.crc32(counter.of.encode()) >> 4
    return ipv4_int(counter.of)


def _creation(family: str, missing: Sequence[tuple[Counter, str]]) -> str:
    objects = [f"add counter {family} {TABLE} {_name(counter, to)}\n" for counter, to in missing]
    by_map: dict[str, list[str]] = {}
    for counter, to in missing:
        for place, key, value in _elements(family, counter, to):
            by_map.setdefault(place, []).append(f"{_key(place, key)} : {_value(value)}")
    elements = [
        f"add element {family} {TABLE} {place} {{ {', '.join(items)} }}\n" for place, items in by_map.items()
    ]
    return "".join(objects + elements)


def _removal(family: str, name: str, present: Set[tuple[str, str]] | None = None) -> str:
    kind, _, rest = name.partition("-")
    of, _, direction = rest.rpartition("-")
    counter = Counter(kind=cast(Any, kind), of=of.replace("_", ":"))
    gone = "".join(
        f"delete element {family} {TABLE} {place} {{ {_key(place, key)} }}\n"
        for place, key, _ in _elements(family, counter, direction)
        if present is None or (place, key) in present
    )
    return f"{gone}delete counter {family} {TABLE} {name}\n"


def _key(place: str, key: str) -> str:
    return f'"{key}"' if place.startswith("network") else key


def _value(text: str) -> str:
    """A mark, or the name of a counter."""
    return text if text.isdigit() else f'"{text}"'
