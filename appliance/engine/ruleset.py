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
from appliance.engine import flows, refusals, tables, users
from appliance.engine.change import Change
from appliance.engine.elements import Count, Moved, Pairs, Place, compact, counts, element, inherited
from appliance.engine.host import Host
from appliance.resources import Limit, Ruleset

KIND = "Ruleset"
OURS = "sysvm"
TABLES = (OURS, "sysvm_limits", "sysvm_ftp", "sysvm_pptp", "sysvm_sip", "sysvm_tftp")
"""All that may be wanted; one that isn't goes."""
FAST_PATH = "fast_path"
"""A chain whose rules, like flowtables, are another kind's: they come and go with network cards."""
_MOST_GONE = 1_000
Elements = Mapping[str, Mapping[str, str | None]]


@dataclass
class Observed:
    generation: int
    structure: str
    elements: Elements
    limits: Mapping[str, Limit]


def plan(wanted: Sequence[Ruleset], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    if fresh:
        host.seen.pop(KIND, None)
    able = [ruleset for ruleset in wanted if tables.possible(ruleset, host)]
    for ruleset in able:
        yield from _plan_table(ruleset, host)
    unwanted = set(TABLES) - {ruleset.table for ruleset in able}
    for table in TABLES:
        if table in unwanted and table in tables.existing(host):
            yield Change(
                kind=KIND,
                name=table,
                action="delete",
                run=lambda table=table: _delete(table, host),  # type: ignore[misc]
            )


def _delete(table: str, host: Host) -> None:
    host.seen.get(KIND, {}).pop(table, None)
    host.nft.run(f"delete table inet {table}")


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
    delta = _delta(ruleset, observed)
    if delta is not None:
        yield Change(
            kind=KIND,
            name=ruleset.table,
            action="update",
            detail=delta.summary,
            run=lambda: _change_elements(ruleset, host, observed, delta),
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
    listing = host.nft.listing(f"table inet {table}", hook=compact)
    if not listing:
        return None
    observed = Observed(
        generation=generation,
        structure=structure_digest(listing),
        elements={
            item[kind]["name"]: dict(map(element, item[kind].get("elem", [])))
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


def counted(table: str, host: Host) -> dict[Place, Count]:
    """What the elements of a table have counted, if anything."""
    return counts(host.nft.listing(f"table inet {table}"))


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


def _whole(ruleset: Ruleset, counted: Mapping[Place, Count]) -> str:
    table, counters = f"inet {ruleset.table}", _counters(counted)
    fill = "".join(
        f"add element {table} {name} {{ {_listed(elements.items(), counters.get(name, {}))} }}\n"
        for name, elements in ruleset.elements.items()
        if elements
    )
    return _structure(ruleset) + "".join(_creation(ruleset, name) for name in ruleset.limits) + fill


def _counters(counted: Mapping[Place, Count]) -> dict[str, dict[str, str]]:
    """What elements begin with, in nft syntax, by set."""
    found: dict[str, dict[str, str]] = {}
    for (name, key), count in counted.items():
        found.setdefault(name, {})[key] = f" counter packets {count.packets} bytes {count.bytes}"
    return found


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
    known: dict[Place, Count] = {}
    refused = ""
    if observed is not None:
        refused = refusals.commands(ruleset, host)
        flows.note(flows.gone(ruleset, observed.elements), host)
        known = counted(ruleset.table, host)
        gone, come = _moved(ruleset, observed)
        for name in observed.elements.keys() - ruleset.elements.keys():
            gone[name] = list(observed.elements[name].items())
        known |= inherited(known, gone, come, ruleset.counting)
    _forget(ruleset, host)
    before = host.nft.generation()
    host.nft.run(_whole(ruleset, known) + refused)
    listing = host.nft.listing(f"table inet {ruleset.table}", terse=True, hook=compact)
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


def _moved(ruleset: Ruleset, observed: Observed) -> tuple[dict[str, Pairs], dict[str, Pairs]]:
    """The elements that go and come. A limit can't be changed: another takes its name, and the elements that
    lead to it are made anew around that."""
    unlike = _unlike(ruleset, observed)
    gone: dict[str, Pairs] = {}
    come: dict[str, Pairs] = {}
    for name, want in sorted(ruleset.elements.items()):
        have = observed.elements.get(name, {})
        if (want is have or want == have) and not unlike:
            continue
        goes = [
            (key, mapped)
            for key, mapped in have.items()
            if key not in want or want[key] != mapped or mapped in unlike
        ]
        comes = [
            (key, mapped)
            for key, mapped in want.items()
            if key not in have or have[key] != mapped or mapped in unlike
        ]
        if goes:
            gone[name] = goes
        if comes:
            come[name] = comes
    return gone, come


def _unlike(ruleset: Ruleset, observed: Observed) -> set[str | None]:
    """Limits that aren't as wanted."""
    if ruleset.limits is observed.limits:
        return set()
    return {name for name, limit in observed.limits.items() if ruleset.limits.get(name) != limit}


@dataclass(frozen=True)
class _Delta:
    """What turns what is observed into what is wanted."""

    gone: Moved
    come: Moved
    limits_gone: Sequence[str]
    limits_come: Sequence[str]

    @property
    def summary(self) -> str:
        come, gone = (sum(map(len, moved.values())) for moved in (self.come, self.gone))
        return f"{come} elements come, {gone} go"

    def commands(self, ruleset: Ruleset, counted: Mapping[Place, Count]) -> str:
        """`create` and `delete`, unlike `add` and `destroy`, fail where an element isn't as it was observed.
        So the transaction itself proves that the observation still held."""
        table, counters = f"inet {ruleset.table}", _counters(counted)
        # What users reach a script may change at any time.
        moving = ruleset.users.sets if ruleset.users is not None else ()
        parts = []
        for name, elements in self.gone.items():
            keys = ", ".join(key for key, _ in elements)
            if name in moving:
                parts.append(f"add element {table} {name} {{ {keys} }}\n")
            parts.append(f"delete element {table} {name} {{ {keys} }}\n")
        parts += [f"delete limit {table} {name}\n" for name in self.limits_gone]
        parts += [_creation(ruleset, name) for name in self.limits_come]
        parts += [
            f"{'add' if name in moving else 'create'} element {table} {name} "
            f"{{ {_listed(elements, counters.get(name, {}))} }}\n"
            for name, elements in self.come.items()
        ]
        return "".join(parts)


def _delta(ruleset: Ruleset, observed: Observed) -> _Delta | None:
    """None where everything is as wanted."""
    gone, come = _moved(ruleset, observed)
    unlike = _unlike(ruleset, observed)
    limits = [name for name in ruleset.limits if name in unlike or name not in observed.limits]
    if not (gone or come or unlike or limits):
        return None
    return _Delta(gone, come, sorted(str(name) for name in unlike), limits)


def _begun(ruleset: Ruleset, delta: _Delta, host: Host) -> dict[Place, Count]:
    """What elements that come have counted as others."""
    gone, come = ({name: each for name, each in moved.items() if name in ruleset.counting}
                  for moved in (delta.gone, delta.come))  # fmt: skip
    groups = {ruleset.counting[name][0] for name in gone} & {ruleset.counting[name][0] for name in come}
    if not groups:
        return {}
    listing = [
        item
        for name, elements in gone.items()
        if ruleset.counting[name][0] in groups
        for item in host.nft.listing(
            f"{'set' if elements[0][1] is None else 'map'} inet {ruleset.table} {name}"
        )
    ]
    return inherited(counts(listing), gone, come, ruleset.counting)


def _change_elements(ruleset: Ruleset, host: Host, observed: Observed, delta: _Delta) -> None:
    flows.note(flows.gone(ruleset, observed.elements), host)
    _forget(ruleset, host)
    host.nft.run(delta.commands(ruleset, _begun(ruleset, delta, host)))
    _keep(ruleset, observed.structure, host, before=observed.generation)
    _end_flows(ruleset, host)
