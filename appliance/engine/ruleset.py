"""Observe and change nft tables that are wholly ours.

Structure and elements are compared apart. Of the structure the engine notes, right after the
transaction that made it, a digest of what was sent and of what the kernel lists: what nft lists is not
what it was sent, but it does list the same thing twice alike. Elements are compared one by one. What they
counted, if their set counts, goes with them into a table that is made anew.

Listing tens of thousands of elements takes a hundred times longer than adding one, so an observation
is kept for as long as the kernel's generation number says that nobody has committed anything since.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance import disk
from appliance.engine import flows, users
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import Limit, Ruleset

KIND = "Ruleset"
OURS = "sysvm"
TABLES = (OURS, "sysvm_limits")
"""All that may be wanted; one that isn't goes."""
FAST_PATH = "fast_path"
"""A chain whose rules, like flowtables, are another kind's: they come and go with network cards."""
_MOST_GONE = 1_000
Elements = Mapping[str, Mapping[str, str | None]]


@dataclass(frozen=True, slots=True)
class Count:
    packets: int
    bytes: int


@dataclass
class Observed:
    generation: int
    structure: str
    elements: Elements
    limits: Mapping[str, Limit]


def plan(wanted: Sequence[Ruleset], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    if fresh:
        host.seen.pop(KIND, None)
    tables = {ruleset.table: ruleset for ruleset in wanted}
    for ruleset in wanted:
        yield from _plan_table(ruleset, host)
    for table in TABLES:
        if table not in tables and _exists(host, table):
            yield Change(
                kind=KIND,
                name=table,
                action="delete",
                run=lambda table=table: _delete(table, host),  # type: ignore[misc]
            )


def _delete(table: str, host: Host) -> None:
    host.seen.get(KIND, {}).pop(table, None)
    host.nft.run(f"delete table inet {table}")


def _exists(host: Host, table: str) -> bool:
    return any(item["table"]["name"] == table for item in host.nft.listing("tables inet") if "table" in item)


def _plan_table(ruleset: Ruleset, host: Host) -> Iterator[Change]:
    observed = _observe(ruleset.table, host)
    ruleset = users.settled(ruleset, observed.elements if observed is not None else {})
    if observed is None or _stale(ruleset, observed, host) or _much_goes(ruleset, observed):
        count = sum(map(len, ruleset.elements.values()))
        yield Change(
            kind=KIND,
            name=ruleset.table,
            action="create" if observed is None else "update",
            detail=f"load the table in one transaction, with {count} elements",
            run=lambda: _swap(ruleset, observed, host),
        )
        return
    commands, summary = _delta(ruleset, observed)
    if commands:
        yield Change(
            kind=KIND,
            name=ruleset.table,
            action="update",
            detail=summary,
            run=lambda: _change_elements(ruleset, host, observed, commands),
        )
    elif flows.pending(ruleset, host):
        yield Change(
            kind=KIND,
            name=ruleset.table,
            action="update",
            detail="connections end that removed rules let in",
            run=lambda: _end_flows(ruleset, host),
        )


def _much_goes(ruleset: Ruleset, observed: Observed) -> bool:
    """The kernel takes an element out of a set of intervals in a time that grows with the set: ten thousand
    of them one by one take seconds, where a whole new table takes tenths of one."""
    gone = sum(
        len(have) - len(want)
        for name, want in ruleset.elements.items()
        if (have := observed.elements.get(name, {})) is not want
    )
    return gone > _MOST_GONE


def check(ruleset: Ruleset, host: Host) -> None:
    """Have the kernel check the structure of a table that would be swapped, without committing it.
    Raises NftError.

    Elements aren't asked about: they come in one transaction that is the first step of a plan, so a
    refusal touches nothing either; and the kernel makes every check wait for all CPUs (RCU)."""
    observed = _observe(ruleset.table, host)
    if observed is None or _stale(ruleset, observed, host):
        host.nft.check(_structure(ruleset))


def _observe(table: str, host: Host) -> Observed | None:
    generation = host.nft.generation()
    kept: dict[str, Observed] = host.seen.setdefault(KIND, {})
    cached = kept.pop(table, None)
    # What other kinds commit by the same library isn't in what is observed of this table; see `_forget`.
    if cached is not None and host.nft.only_ours_since(cached.generation):
        cached.generation = generation
        kept[table] = cached
        return cached
    listing = host.nft.listing(f"table inet {table}")
    if not listing:
        return None
    observed = Observed(
        generation=generation,
        structure=structure_digest(listing),
        elements={
            item[kind]["name"]: dict(map(_element, item[kind].get("elem", [])))
            for item in listing
            for kind in ("set", "map")
            if kind in item
        },
        limits={item["limit"]["name"]: _limit(item["limit"]) for item in listing if "limit" in item},
    )
    if host.nft.generation() == generation:
        kept[table] = observed
    return observed


def structure_digest(listing: list[dict[str, Any]]) -> str:
    """Of what the kernel lists of a table, whatever its elements, counters and fast path are."""
    structure = [
        _without_moving_parts(item) for item in listing if not of_fast_path(item) and "limit" not in item
    ]
    text = json.dumps(structure, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def of_fast_path(item: dict[str, Any]) -> bool:
    return "flowtable" in item or item.get("rule", {}).get("chain") == FAST_PATH


def _without_moving_parts(value: Any) -> Any:
    """What the kernel lists, less what changes by itself: handles, counts, elements."""
    if isinstance(value, dict):
        return {
            key: _without_moving_parts(item)
            for key, item in value.items()
            if key not in ("handle", "packets", "bytes") and not (key == "elem" and "name" in value)
        }
    if isinstance(value, list):
        return [_without_moving_parts(item) for item in value]
    return value


def _element(value: Any) -> tuple[str, str | None]:
    if isinstance(value, list):
        key, mapped = value
        return _text(key), _text(mapped)
    return _text(value), None


def counted(table: str, host: Host) -> dict[tuple[str, str], Count]:
    """What the elements of a table have counted, if anything, by set and element."""
    return {
        (item[kind]["name"], _element(element)[0]): count
        for item in host.nft.listing(f"table inet {table}")
        for kind in ("set", "map")
        if kind in item and "stmt" in item[kind]
        for element in item[kind].get("elem", [])
        if (count := _count(element)) is not None
    }


def _count(element: Any) -> Count | None:
    key = element[0] if isinstance(element, list) else element
    found = key.get("elem", {}).get("counter") if isinstance(key, dict) else None
    return Count(found["packets"], found["bytes"]) if found and found["packets"] else None


def _text(value: Any) -> str:
    """An element, or what it maps to, as nft writes it."""
    if not isinstance(value, dict):
        return str(value)
    if "elem" in value:
        return _text(value["elem"]["val"])
    if "concat" in value:
        return " . ".join(map(_text, value["concat"]))
    if "prefix" in value:
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    if "range" in value:
        first, last = value["range"]
        return f"{first}-{last}"
    verdict, target = next(iter(value.items()))
    return f"{verdict} {target['target']}" if target else str(verdict)


_UNITS = {"bytes": 1, "kbytes": 1024, "mbytes": 1024 * 1024}


def _limit(listed: Mapping[str, Any]) -> Limit:
    return Limit(
        rate=listed["rate"] * _UNITS[listed.get("rate_unit", "bytes")],
        burst=listed.get("burst", 0) * _UNITS[listed.get("burst_unit", "bytes")],
    )


def _creation(ruleset: Ruleset, name: str) -> str:
    limit = ruleset.limits[name]
    rate = f"rate over {limit.rate} bytes/second burst {limit.burst} bytes"
    return f"add limit inet {ruleset.table} {name} {{ {rate} ; }}\n"


def _structure(ruleset: Ruleset) -> str:
    # "add, delete, add" is how one transaction replaces a table that may or may not be there.
    table = f"table inet {ruleset.table}"
    return f"{table}\ndelete {table}\n{ruleset.text}\n"


def _whole(ruleset: Ruleset, counts: Mapping[tuple[str, str], Count]) -> str:
    fill = "".join(
        f"add element inet {ruleset.table} {name} {{ {_listed(elements.items(), _of_set(name, counts))} }}\n"
        for name, elements in ruleset.elements.items()
        if elements
    )
    return _structure(ruleset) + "".join(_creation(ruleset, name) for name in ruleset.limits) + fill


def _of_set(name: str, counts: Mapping[tuple[str, str], Count]) -> dict[str, str]:
    """What its elements have counted, in nft syntax."""
    return {
        key: f" counter packets {count.packets} bytes {count.bytes}"
        for (place, key), count in counts.items()
        if place == name
    }


def _listed(elements: Any, counters: Mapping[str, str] = {}) -> str:
    return ", ".join(
        f"{key}{counters.get(key, '')}" if mapped is None else f"{key}{counters.get(key, '')} : {mapped}"
        for key, mapped in elements
    )


def _stale(ruleset: Ruleset, observed: Observed, host: Host) -> bool:
    """Whether the table's structure is not what this text made."""
    noted: object = host.note(_note(ruleset))
    return noted != {"sent": _sent(ruleset), "listed": observed.structure}


def _note(ruleset: Ruleset) -> str:
    return f"nft-{ruleset.table}.json"


def _sent(ruleset: Ruleset) -> str:
    return hashlib.sha256(ruleset.text.encode()).hexdigest()


def _swap(ruleset: Ruleset, observed: Observed | None, host: Host) -> None:
    # Whoever has come meanwhile must not be locked out by it.
    ruleset = users.settled(ruleset, ruleset.elements)
    if observed is not None:
        flows.note(flows.gone(ruleset, observed.elements), host)
    _forget(ruleset, host)
    before = host.nft.generation()
    host.nft.run(_whole(ruleset, counted(ruleset.table, host)))
    listing = host.nft.listing(f"table inet {ruleset.table}", terse=True)
    if not listing:
        raise LookupError(f"nft table {ruleset.table} is gone right after it was loaded")
    structure = structure_digest(listing)
    disk.write_json(host.state / _note(ruleset), {"sent": _sent(ruleset), "listed": structure})
    _keep(ruleset, structure, host, before=before)
    _end_flows(ruleset, host)


def _end_flows(ruleset: Ruleset, host: Host) -> None:
    if flows.pending(ruleset, host):
        flows.end(ruleset, host)


def _forget(ruleset: Ruleset, host: Host) -> None:
    host.seen.get(KIND, {}).pop(ruleset.table, None)


def _keep(ruleset: Ruleset, structure: str, host: Host, *, before: int) -> None:
    """Take the table for as wanted, if ours was the only transaction since this generation: the kernel
    accepted all of it."""
    generation = host.nft.generation()
    kept: dict[str, Observed] = host.seen.setdefault(KIND, {})
    if generation == before + 1:
        for other in kept.values():
            # Another table is as it was.
            if other.generation == before:
                other.generation = generation
        kept[ruleset.table] = Observed(
            generation=generation, structure=structure, elements=ruleset.elements, limits=ruleset.limits
        )


def _delta(ruleset: Ruleset, observed: Observed) -> tuple[str, str]:
    """The commands that turn what is observed into what is wanted, and a summary.

    `create` and `delete`, unlike `add` and `destroy`, fail where an element is not as it was observed:
    so the transaction itself proves that the observation still held. A limit can't be changed: another takes
    its name, and the elements that lead to it are made anew around that."""
    unlike = (
        set()
        if ruleset.limits is observed.limits
        else {name for name, limit in observed.limits.items() if ruleset.limits.get(name) != limit}
    )
    deleted, created, added, removed = [], [], 0, 0
    for name, want in sorted(ruleset.elements.items()):
        have = observed.elements.get(name, {})
        if (want is have or want == have) and not unlike:
            continue
        gone = [
            (key, mapped)
            for key, mapped in have.items()
            if key not in want or want[key] != mapped or mapped in unlike
        ]
        come = [
            (key, mapped)
            for key, mapped in want.items()
            if key not in have or have[key] != mapped or mapped in unlike
        ]
        # What users reach a script may change at any time.
        moving = ruleset.users is not None and name in ruleset.users.sets
        if gone:
            keys = ", ".join(key for key, _ in gone)
            if moving:
                deleted.append(f"add element inet {ruleset.table} {name} {{ {keys} }}\n")
            deleted.append(f"delete element inet {ruleset.table} {name} {{ {keys} }}\n")
        if come:
            verb = "add" if moving else "create"
            created.append(f"{verb} element inet {ruleset.table} {name} {{ {_listed(come)} }}\n")
        added, removed = added + len(come), removed + len(gone)
    deleted += [f"delete limit inet {ruleset.table} {name}\n" for name in sorted(unlike)]
    limits = [
        _creation(ruleset, name) for name in ruleset.limits if name in unlike or name not in observed.limits
    ]
    return "".join([*deleted, *limits, *created]), f"{added} elements come, {removed} go"


def _change_elements(ruleset: Ruleset, host: Host, observed: Observed, commands: str) -> None:
    flows.note(flows.gone(ruleset, observed.elements), host)
    _forget(ruleset, host)
    host.nft.run(commands)
    _keep(ruleset, observed.structure, host, before=observed.generation)
    _end_flows(ruleset, host)
