"""Observe and change what takes established flows past the chains: a flowtable, the rule that fills it, and
the hooks by which what it takes is counted still.

A flowtable and a hook name network cards, and cards come and go: so these are no part of a table's text, and
are made anew for the cards that are there. Flows fall back to the chains meanwhile, and find the way again.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from appliance import disk
from appliance.engine import counter, ruleset
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import FastPath

KIND = "FastPath"
_NOTE = "nft-fast-path.json"
Listing = list[dict[str, Any]]


def plan(wanted: Sequence[FastPath], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    if not host.nft.flowtables():
        return
    path = wanted[0] if wanted else None
    listing = _observe(path, host, fresh=fresh)
    text = _text(path, host.expected_links)
    if not text and not listing:
        return
    if not text or host.note(_NOTE) != _state(text, listing):
        yield Change(
            kind=KIND,
            name=path.table if path else ruleset.OURS,
            action="delete" if not text else "update" if listing else "create",
            detail=f"between {', '.join(_present(path, host.expected_links))}" if path and text else "",
            run=lambda: _load(path, host),
        )


def _present(path: FastPath, links: Iterable[str]) -> list[str]:
    return sorted({*path.links} & {*links})


def _text(path: FastPath | None, links: Iterable[str]) -> str:
    """The commands that make it from nothing; none where no card is there."""
    present = _present(path, links) if path else []
    if path is None or not present:
        return ""
    devices = f"devices = {{ {', '.join(present)} }}"
    text = f"add flowtable inet {path.table} fast {{ hook ingress priority 0; {devices}; }}\n"
    comment = f' comment "all but {path.kept_out}"' if path.kept_out else ""
    # Between these alone: what comes or leaves by a tunnel wouldn't be counted.
    names = f"{{ {', '.join(present)} }}"
    between = f"iifname {names} oifname {names} meta l4proto {{ 6, 17 }}"
    text += f"add rule inet {path.table} {ruleset.FAST_PATH} {between} flow add @fast{comment}\n"
    if path.counted:
        text += "".join(counter.hook_text(hook, devices) for hook in counter.HOOKS)
    return text


def _observe(path: FastPath | None, host: Host, *, fresh: bool = False) -> Listing:
    """What is there of it: as last seen, for as long as nobody has committed anything to nft and no card
    came or went since, which takes it out of what names it."""
    table = path.table if path else ruleset.OURS
    links = frozenset((index, link["name"]) for index, link in host.links().items())
    witness = (table, host.nft.generation(), links)
    kept: tuple[object, Listing] | None = None if fresh else host.seen.get(KIND)
    if kept is None or kept[0] != witness:
        tables = host.nft.listing(f"table inet {table}", terse=True)
        hooks = host.nft.listing(f"table netdev {counter.TABLE}", terse=True)
        listing = [item for item in tables if ruleset.of_fast_path(item)]
        kept = host.seen[KIND] = witness, listing + [item for item in hooks if counter.of_hook(item)]
    return kept[1]


def _state(text: str, listing: Listing) -> dict[str, str]:
    """What was sent and what the kernel lists, less its handles."""
    plain = [{kind: {**item, "handle": 0} for kind, item in each.items()} for each in listing]
    listed = json.dumps(plain, sort_keys=True)
    return {"sent": _digest(text), "listed": _digest(listed)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _load(path: FastPath | None, host: Host) -> None:
    text = _text(path, {link["name"] for link in host.links().values()})
    # Rules first: what a rule names can't go before it.
    listing = sorted(_observe(path, host, fresh=True), key=lambda item: "rule" not in item)
    host.nft.run("".join(map(_removal, listing)) + text)
    disk.write_json(host.state / _NOTE, _state(text, _observe(path, host, fresh=True)))


def _removal(item: dict[str, Any]) -> str:
    ((kind, value),) = item.items()
    what = f"{value['chain']} handle {value['handle']}" if kind == "rule" else value["name"]
    return f"delete {kind} {value['family']} {value['table']} {what}\n"
