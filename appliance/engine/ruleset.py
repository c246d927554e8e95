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
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance import disk
from appliance.engine import delta as deltas
from appliance.engine import flows, refusals, table_text, tables, users
from appliance.engine.change import Change
from appliance.engine.delta import Observed
from appliance.engine.elements import Count, Place, compact, counts, element, inherited
from appliance.engine.host import Host
from appliance.resources import Limit, Ruleset

KIND = "Ruleset"
OURS = "sysvm"
TABLES = (OURS, "sysvm_limits", "sysvm_ftp", "sysvm_pptp", "sysvm_sip", "sysvm_tftp")
"""All that may be wanted; one that isn't goes."""
FAST_PATH = "fast_path"
"""A chain whose rules, like flowtables, are another kind's: they come and go with network cards."""
_MOST_GONE = 1_000


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
    stale = observed is None or _stale(ruleset, observed, host)
    patch = _patch(ruleset, observed, host) if stale and observed is not None else None
    if observed is None or (stale and patch is None) or _much_goes(ruleset, observed):
        count = sum(map(len, ruleset.elements.values()))
        yield Change(
            kind=KIND,
            name=ruleset.table,
            action="create" if observed is None else "update",
            detail=f"load the table in one transaction, with {count} elements",
            run=lambda: _swap(ruleset, observed, host),
        )
        return
    delta = deltas.delta(ruleset, observed)
    if patch is not None:
        yield Change(
            kind=KIND,
            name=ruleset.table,
            action="update",
            detail=f"{patch.summary}; {delta.summary if delta is not None else 'no elements'}",
            run=lambda: _change_structure(ruleset, host, observed, patch),
        )
    elif delta is not None:
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
        patch = _patch(ruleset, observed, host) if observed is not None else None
        host.nft.check(patch.declaration(ruleset.table) if patch is not None else _structure(ruleset))


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


def _structure(ruleset: Ruleset) -> str:
    # "add, delete, add" is how one transaction replaces a table that may or may not be there.
    table = f"table inet {ruleset.table}"
    return f"{table}\ndelete {table}\n{ruleset.text}\n"


def _whole(ruleset: Ruleset, counted: Mapping[Place, Count]) -> str:
    table, counters = f"inet {ruleset.table}", deltas.counts_text(counted)
    fill = "".join(
        f"add element {table} {name} {{ {deltas.listed(elements.items(), counters.get(name, {}))} }}\n"
        for name, elements in ruleset.elements.items()
        if elements
    )
    return _structure(ruleset) + "".join(deltas.creation(ruleset, name) for name in ruleset.limits) + fill


def _stale(ruleset: Ruleset, observed: Observed, host: Host) -> bool:
    """Whether the table's structure is not what this text made."""
    noted: object = host.note(_note(ruleset))
    return noted != {"sent": _sent(ruleset), "listed": observed.structure}


def _patch(ruleset: Ruleset, observed: Observed, host: Host) -> table_text.Patch | None:
    """What makes the wanted structure of the one that is there, if that is what was sent last."""
    noted: object = host.note(_note(ruleset))
    try:
        sent = _sent_text(ruleset, host).read_text()
    except FileNotFoundError:
        return None
    if noted != {"sent": hashlib.sha256(sent.encode()).hexdigest(), "listed": observed.structure}:
        return None
    return table_text.patch(sent, ruleset.text)


def _sent_text(ruleset: Ruleset, host: Host) -> Path:
    return host.state / f"nft-{ruleset.table}.nft"


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
        gone, come = deltas.moved(ruleset, observed)
        for name in observed.elements.keys() - ruleset.elements.keys():
            gone[name] = list(observed.elements[name].items())
        known |= inherited(known, gone, come, ruleset.counting)
    _forget(ruleset, host)
    _load(ruleset, _whole(ruleset, known) + refused, host)


def _load(ruleset: Ruleset, commands: str, host: Host) -> None:
    """One transaction that makes the wanted table, and the note of what came of it."""
    before = host.nft.generation()
    host.nft.run(commands)
    listing = host.nft.listing(f"table inet {ruleset.table}", terse=True, hook=compact)
    if not listing:
        raise LookupError(f"nft table {ruleset.table} is gone right after it was loaded")
    structure = structure_digest(listing)
    disk.replace(_sent_text(ruleset, host), ruleset.text.encode())
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


def _begun(ruleset: Ruleset, delta: deltas.Delta, host: Host) -> dict[Place, Count]:
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


def _change_elements(ruleset: Ruleset, host: Host, observed: Observed, delta: deltas.Delta) -> None:
    flows.note(flows.gone(ruleset, observed.elements), host)
    _forget(ruleset, host)
    host.nft.run(delta.commands(ruleset, _begun(ruleset, delta, host)))
    _keep(ruleset, observed.structure, host, before=observed.generation)
    _end_flows(ruleset, host)


def _change_structure(ruleset: Ruleset, host: Host, observed: Observed, patch: table_text.Patch) -> None:
    """Few sets and chains for few others; what the rest holds stays."""
    flows.note(flows.gone(ruleset, observed.elements), host)
    _forget(ruleset, host)
    delta = deltas.delta(ruleset, observed) or deltas.Delta({}, {}, (), ())
    left = {
        name: list(elements.items())
        for _, name in patch.sets_gone
        if (elements := observed.elements.get(name))
    }
    new = ruleset.elements.keys() - observed.elements.keys()
    counted = _begun(ruleset, replace(delta, gone={**delta.gone, **left}), host)
    commands = patch.commands(
        ruleset.table, going=delta.going(ruleset), coming=delta.coming(ruleset, counted, new=new)
    )
    _load(ruleset, commands, host)
