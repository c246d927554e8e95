"""Ordered lists that connections pass: which of the established ones a changed list lets in no more.

Only those are looked at whose first match may be another one now: what a removed accepting element was
about, or an added refusing one. Where the list itself is another one, or it has become another link's, all
are looked at. That it has is told by a note of what the gates were when connections last were.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache

from appliance import disk
from appliance.admission import Gate
from appliance.engine.boxes import Box, Boxes, Values, box
from appliance.engine.host import Host
from appliance.resources import Ruleset

_NOTE = "gates.json"
Elements = Mapping[str, Mapping[str, str | None]]
Gone = dict[str, list[tuple[str, str | None]]]
"""Set -> elements with what they map to."""


def touched(ruleset: Ruleset, observed: Elements) -> Gone:
    """The elements by which gates may let in less: accepting ones that go, refusing ones that come."""
    found: Gone = {}
    for gate in ruleset.gates:
        for name, _ in gate.lookups:
            want, have = ruleset.elements.get(name, {}), observed.get(name, {})
            if want is have or name in found:
                continue
            less = [(key, value) for key, value in have.items()
                    if value in gate.passing and want.get(key) != value]  # fmt: skip
            more = [(key, value) for key, value in want.items()
                    if value not in gate.passing and have.get(key) != value]  # fmt: skip
            if less or more:
                found[name] = less + more
    return found


def changed(ruleset: Ruleset, host: Host) -> set[str]:
    """Gates that aren't what they were when connections last were looked at."""
    noted = _noted(host)
    return {name for name, digest in _digests(ruleset).items() if noted.get(name) != digest}


def stale(ruleset: Ruleset, host: Host) -> bool:
    """Whether the note is of other gates: also where some went, for they may come again."""
    return _digests(ruleset) != _noted(host)


def note(ruleset: Ruleset, host: Host) -> None:
    if stale(ruleset, host):
        disk.write_json(host.state / _NOTE, _digests(ruleset))


def _noted(host: Host) -> dict[str, str]:
    return host.note(_NOTE) or {}


def _digests(ruleset: Ruleset) -> dict[str, str]:
    return {gate.name: _digest(gate) for gate in ruleset.gates}


@lru_cache(maxsize=1024)
def _digest(gate: Gate) -> str:
    passing = sorted(map(str, gate.passing))
    parts = (gate.end, gate.networks, gate.apart, gate.own, gate.lookups, passing, gate.passes, gate.aside,
             gate.exempt)  # fmt: skip
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class Judgement:
    """Of connections by the gates of a ruleset. `going` is what `touched` told, `changed` names the gates
    that all connections are held against."""

    def __init__(self, ruleset: Ruleset, going: Mapping[str, Sequence[Sequence[str | None]]],
                 changed: Iterable[str] = ()) -> None:  # fmt: skip
        changed = set(changed)
        self._doors = [
            _Door(gate, ruleset.elements, going, whole=gate.name in changed)
            for gate in ruleset.gates
            if gate.name in changed or any(name in going for name, _ in gate.lookups)
        ]

    def refuses(self, connection: Values) -> bool:
        return any(door.refuses(connection) for door in self._doors)


class _Door:
    """A gate, with the connections whose passing is in question. Its elements are looked at with the first
    connection of its networks: a list may be long, and mostly there is none."""

    def __init__(self, gate: Gate, elements: Elements,
                 going: Mapping[str, Sequence[Sequence[str | None]]], *, whole: bool) -> None:  # fmt: skip
        self._gate, self._elements, self._going, self._whole = gate, elements, going, whole
        self._within = Boxes(box((gate.end,), (network,)) for network in gate.networks)
        self._elsewhere = Boxes(box((gate.end,), (network,)) for network in gate.apart)
        self._elsewhere.add(
            box((field,), (address,)) for address in gate.own for field in ("source", "reply_source")
        )
        self._elsewhere.add(box((field,), (network,)) for field, network in gate.aside)
        self._elsewhere.add(box(dict(told).keys(), dict(told).values()) for told in gate.exempt)

    def refuses(self, connection: Values) -> bool:
        return (
            connection["version"] == self._gate.version
            and self._within.hold(connection)
            and not self._elsewhere.hold(connection)
            and (self._whole or self._in_question.hold(connection))
            and not self._passes(connection)
        )

    def _passes(self, connection: Values) -> bool:
        for passing, refused in self._asked:
            if passing.hold(connection):
                return True
            if refused.hold(connection):
                return False
        return self._gate.passes

    @cached_property
    def _in_question(self) -> Boxes:
        return Boxes(
            _box(fields, key) for name, fields in self._gate.lookups for key, _ in self._going.get(name, ())
        )

    @cached_property
    def _asked(self) -> list[tuple[Boxes, Boxes]]:
        return [self._split(*lookup) for lookup in self._gate.lookups]

    def _split(self, name: str, fields: Sequence[str]) -> tuple[Boxes, Boxes]:
        passing, refused = Boxes(), Boxes()
        for key, verdict in self._elements.get(name, {}).items():
            (passing if verdict in self._gate.passing else refused).add([_box(fields, key)])
        return passing, refused


def _box(fields: Sequence[str], key: str | None) -> Box:
    return box(fields, (key or "").split(" . "))
