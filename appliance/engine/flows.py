"""End the connections that only a removed element of a set had let in, and no others.

Connection tracking lets an established connection go on whatever the rules say now; so when a rule is taken
away, what it let in must be found and forgotten. What that is follows from the elements that the kernel had
and those that are wanted; it is noted before the transaction and forgotten after, so a crash between the two
leaves it to the next plan. Ordered lists are in `gates`.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

from appliance import disk
from appliance.admission import Admission
from appliance.engine import conntrack, gates
from appliance.engine.boxes import Box, Boxes, box, span, values
from appliance.engine.conntrack import Connection
from appliance.engine.gates import Elements, Gone
from appliance.engine.host import Host
from appliance.resources import Ruleset

log = logging.getLogger(__name__)
_NOTE = "flows.json"
_TCP = 6


def gone(ruleset: Ruleset, observed: Elements) -> Gone:
    """The observed elements that let connections in and are not wanted any more; of gates, all that make a
    difference."""
    found: Gone = {}
    for name in ruleset.admissions:
        want, have = ruleset.elements.get(name, {}), observed.get(name, {})
        if want is not have and (less := [(key, value) for key, value in have.items()
                                          if key not in want or want[key] != value]):  # fmt: skip
            found[name] = less
    return found | gates.touched(ruleset, observed)


def note(going: Gone, host: Host) -> None:
    """Before the elements go."""
    if going:
        noted: Gone = host.note(_NOTE) or {}
        both = {name: [*noted.get(name, []), *going.get(name, [])] for name in noted.keys() | going.keys()}
        disk.write_json(host.state / _NOTE, both)


def pending(ruleset: Ruleset, host: Host) -> bool:
    """Whether there may be connections that are still to end."""
    # Only one table lets connections in.
    return bool(ruleset.admissions) and ((host.state / _NOTE).exists() or gates.stale(ruleset, host))


def end(ruleset: Ruleset, host: Host) -> int:
    """What only the noted elements let in, once they are gone, and what a gate lets in no more. How many
    connections that were."""
    going: Gone = host.note(_NOTE) or {}
    changed = gates.changed(ruleset, host)
    count = 0
    if going or changed:
        children: list[Connection] = []
        tracked = _noting(conntrack.connections(), children)
        ending = list(_ending(ruleset, going, tracked, changed=changed))
        ended = {connection.key for connection in ending}
        # What they told of, by a helper, was let in for them.
        ending += [child for child in children if child.master in ended and child.key not in ended]
        _refuse_answers(ruleset, ending, host)
        count = conntrack.end(ending)
        log.info("%d connections end with the rules that let them in", count)
    gates.note(ruleset, host)
    (host.state / _NOTE).unlink(missing_ok=True)
    return count


def _ending(
    ruleset: Ruleset, going: Gone, tracked: Iterable[Connection], *, changed: Iterable[str] = ()
) -> Iterator[Connection]:
    groups: dict[str, Boxes] = {}
    for name, elements in going.items():
        if admission := ruleset.admissions.get(name):
            groups.setdefault(admission.group, Boxes()).add(_boxes(admission, elements))
    staying: dict[str, Boxes] = {}
    judgement = gates.Judgement(ruleset, going, changed)
    for connection in tracked:
        seen = values(connection)
        for group, boxes in groups.items():
            if not boxes.hold(seen):
                continue
            if group not in staying:
                staying[group] = _staying(ruleset, group)
            if not staying[group].hold(seen):
                yield connection
                break
        else:
            if judgement.refuses(seen):
                yield connection


def _noting(tracked: Iterable[Connection], children: list[Connection]) -> Iterator[Connection]:
    """All of them; those that another told of are kept."""
    for connection in tracked:
        if connection.master is not None:
            children.append(connection)
        yield connection


def _staying(ruleset: Ruleset, group: str) -> Boxes:
    boxes = Boxes()
    for name, admission in ruleset.admissions.items():
        if admission.group == group:
            boxes.add(_boxes(admission, ruleset.elements.get(name, {}).items()))
    for admitted in ruleset.admitted:
        if admitted.group == group:
            first = {admitted.field: admitted.value} if admitted.field else {}
            told = {**first, **dict(admitted.further)}
            boxes.add([box(told.keys(), told.values())])
    return boxes


def _boxes(admission: Admission, elements: Iterable[Sequence[str | None]]) -> Iterator[Box]:
    always: Box = {} if admission.protocol is None else {"protocol": (admission.protocol,) * 2}
    for key, value in elements:
        texts = (*(key or "").split(" . "), *(value.split(" . ") if value and admission.mapped else ()))
        ways = [(admission.fields, "reply_source"), (admission.back, "source")]
        for fields, other in ways if admission.back else ways[:1]:
            made = box((*fields, *admission.mapped), texts) | always
            if not admission.others:
                yield made
            for network in admission.others:
                yield made | {other: span(network)}


def _refuse_answers(ruleset: Ruleset, ending: Sequence[Connection], host: Host) -> None:
    """Before a connection of TCP is forgotten: the far end's next packet must not begin it anew, as one of
    its own. What has a source of ours on the way out is answered to an address that is nobody else's."""
    names: Mapping[int, str] = dict(zip((4, 6), ruleset.ended, strict=False))
    found: dict[str, list[str]] = {}
    for connection in ending:
        back = connection.reply
        if (
            connection.version in names
            and connection.protocol == _TCP
            and (back.destination == connection.original.source)
        ):
            source, destination = connection.text(back.source), connection.text(back.destination)
            told = f"{source} . {back.source_port} . {destination} . {back.port}"
            found.setdefault(names[connection.version], []).append(told)
    for name, elements in found.items():
        host.nft.run(f"add element inet {ruleset.table} {name} {{ {', '.join(elements)} }}\n")
