"""Observe and change the queues that packets wait in before they leave by a link.

A class that changes is changed where it is, with what waits in it; the others aren't touched. A link that
has no queues any more gets back what the kernel gives a link by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from appliance.engine import traffic_control
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.engine.traffic_control import Class, Leaf, Seen, ticks
from appliance.resources import Resource, Ruleset
from appliance.shaping import QUEUED, Queue, Shaping

KIND = "Shaping"
_PACKETS = 10_240
_LEAST_MEMORY, _MOST_MEMORY = 1 << 20, 1 << 25
_TARGET = 5_000
"""Microseconds that fq_codel lets a flow's packets wait (RFC 8290), or one and a half packets if longer."""
_FRAME = 1_514
_LEAST_BYTES = 262_144
"""Four packets as large as the kernel forwards them."""


def settled(wanted: Sequence[Resource], host: Host) -> tuple[Resource, ...]:
    """The same as it is where the kernel has no HTB: nobody's packets wait, so policers must do."""
    if not any(isinstance(each, Shaping) for each in wanted) or "htb" in host.queue_kinds:
        return tuple(wanted)
    return tuple(
        replace(each, elements={**each.elements, QUEUED: {}})
        if isinstance(each, Ruleset) and QUEUED in each.elements
        else each
        for each in wanted
        if not isinstance(each, Shaping)
    )


@dataclass
class _Difference:
    gone: list[int] = field(default_factory=list)
    come: dict[int, Class] = field(default_factory=dict)
    changed: dict[int, Class] = field(default_factory=dict)
    leaves: dict[int, Leaf] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.gone or self.come or self.changed or self.leaves)

    def __str__(self) -> str:
        changed = self.changed.keys() | (self.leaves.keys() - self.come.keys())
        return f"{len(self.come)} queues come, {len(changed)} change, {len(self.gone)} go"


def plan(wanted: Sequence[Shaping], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    if fresh:
        host.seen.pop(KIND, None)
    seen = _observe(host)
    links = {name: index for index, name in host.expected_names.items()}
    present = {links[shaping.link]: shaping for shaping in wanted if shaping.link in links}
    for index, shaping in present.items():
        ours = seen.ours(index)
        difference = _difference(shaping.queues, seen if ours else Seen(), index, host)
        if difference or not ours:
            yield Change(
                kind=KIND,
                name=shaping.link,
                action="update" if ours else "create",
                detail=str(difference),
                run=lambda shaping=shaping: _change(shaping, host),  # type: ignore[misc]
            )
    for index, name in host.expected_names.items():
        if seen.ours(index) and index not in present:
            yield Change(
                kind=KIND,
                name=name,
                action="delete",
                run=lambda index=index: _run([traffic_control.no_root(index)], host),  # type: ignore[misc]
            )


def _observe(host: Host) -> Seen:
    kept: Seen | None = host.seen.get(KIND)
    if kept is None or not host.traffic_control.follow(kept):
        kept = host.seen[KIND] = host.traffic_control.observe()
    return kept


def _difference(queues: Mapping[int, Queue], seen: Seen, index: int, host: Host) -> _Difference:
    found = _Difference()
    classes, leaves = seen.classes.get(index, {}), seen.leaves.get(index, {})
    fair = "fq_codel" in host.queue_kinds
    for number, queue in queues.items():
        want, leaf = _settings(queue, fair)
        have = classes.get(number)
        if have != want:
            if have is not None and have.parent == want.parent:
                found.changed[number] = want
            else:
                found.come[number] = want
                if have is not None:
                    found.gone.append(number)
        if leaf and (number in found.come or not leaf.near(leaves.get(number))):
            found.leaves[number] = leaf
    found.gone += classes.keys() - queues.keys()
    # Who borrows goes before whom he borrows from, and comes behind him.
    found.gone.sort(key=lambda number: classes[number].parent == 0)
    found.come = dict(sorted(found.come.items(), key=lambda item: item[1].parent != 0))
    return found


@lru_cache(10_000)
def _settings(queue: Queue, fair: bool) -> tuple[Class, Leaf | None]:
    return _class(queue), _leaf(queue, fair=fair)


def _class(queue: Queue) -> Class:
    return Class(
        parent=queue.parent,
        rate=queue.rate,
        ceiling=queue.ceiling,
        buffer=ticks(queue.burst, queue.ceiling),
        ceiling_buffer=ticks(queue.burst, queue.ceiling),
    )


def _leaf(queue: Queue, *, fair: bool) -> Leaf | None:
    """What waits is what a tenth of a second takes at most; by flow it is much less."""
    if not queue.leaf:
        return None
    if not fair:
        return Leaf("bfifo", max(_LEAST_BYTES, queue.ceiling // 10))
    memory = min(max(queue.ceiling // 4, _LEAST_MEMORY), _MOST_MEMORY)
    return Leaf("fq_codel", _PACKETS, memory, max(_TARGET, _FRAME * 1_500_000 // queue.ceiling))


def _change(shaping: Shaping, host: Host) -> None:
    index = host.link_index(shaping.link)
    seen = _observe(host)
    ours = seen.ours(index)
    difference = _difference(shaping.queues, seen if ours else Seen(), index, host)
    old = seen.leaves.get(index, {}) if ours else {}
    messages = [] if ours else [traffic_control.root(index)]
    messages += [traffic_control.no_class(index, number) for number in difference.gone]
    for number, one in (difference.come | difference.changed).items():
        messages.append(traffic_control.classified(index, number, one))
    for number, leaf in difference.leaves.items():
        kept = old.get(number) if number not in difference.come else None
        if kept and kept.kind != leaf.kind:
            messages.append(traffic_control.no_leaf(index, number))
        messages.append(traffic_control.leaf(index, number, leaf, new=not kept or kept.kind != leaf.kind))
    _run(messages, host)


def _run(messages: Sequence[bytes], host: Host) -> None:
    host.traffic_control.change(messages)
