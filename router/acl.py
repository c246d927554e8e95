"""Access lists as nft verdict maps: each rule is an element or a few, which counts what it decides about.

A list's rules are ordered; `layers` says why a few lookups suffice. An `accept` returns to the chain that
asked, as a connection from one tier to another has two lists to pass.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Self

from appliance.memo import different, per_sections
from appliance.model import pointer
from appliance.template import render
from router.acl_match import MATCHES, boxes, element, has_ports
from router.document import Acl, AclRule, RouterDocument
from router.elements import CROWD, Elements
from router.layers import Layering, Rule
from router.logged import LOG_GROUP, Logged

DIRECTIONS = ("ingress", "egress")
_VERDICTS = {"accept": "return", "drop": "drop"}
PASSING = _VERDICTS["accept"]
"""A connection goes on to the chain that asked."""
_WIDTHS = {4: 32, 6: 128}
_FEW = 16
"""So many rules that come or go are placed one by one."""


@dataclass(frozen=True, slots=True, order=True)
class Lookup:
    """One verdict map of a list, and what of a packet is looked up in it."""

    layer: int
    match: str
    version: int
    map: str


@dataclass(frozen=True)
class Direction:
    """One direction of a list, ready for nft."""

    acl: str
    chain: str
    ingress: bool
    policy: str
    lookups: tuple[Lookup, ...]
    logged: tuple[Logged, ...]
    elements: Mapping[str, Mapping[str, str]] = field(repr=False)
    owners: Mapping[tuple[str, str], str] = field(repr=False)
    """The rule of each element, by map and element."""

    @property
    def depth(self) -> int:
        return self.lookups[-1].layer + 1


class _Structure(NamedTuple):
    """What of a direction is no element: the same for as long as rules come and go."""

    chain: str
    ingress: bool
    policy: str
    lookups: tuple[Lookup, ...]
    logged: tuple[Logged, ...]

    @classmethod
    def of(cls, direction: Direction) -> Self:
        return cls(direction.chain, direction.ingress, direction.policy, direction.lookups, direction.logged)


@lru_cache(maxsize=2)
def _text(acls: tuple[_Structure, ...]) -> str:
    return render("nftables/acl.nft.j2", acls=acls, log_group=LOG_GROUP)


@per_sections("acls")
def directions(document: RouterDocument) -> tuple[Direction, ...]:
    """All lists, by name."""
    for name in {name for name, _ in _lists} - document.acls.keys():
        for direction in DIRECTIONS:
            _lists.pop((name, direction), None)
    return tuple(
        compiled(acl, name, direction)
        for name, acl in sorted(document.acls.items())
        for direction in DIRECTIONS
    )


def text(document: RouterDocument) -> str:
    """Maps and chains of all lists, in nft syntax: a part of the table that comes before the rest."""
    return _text(tuple(map(_Structure.of, directions(document))))


def chain(acl: str, direction: str) -> str:
    return f"acl_{acl}_{direction}"


@per_sections("acls")
def elements(document: RouterDocument) -> Elements:
    found: Elements = {}
    for direction in directions(document):
        found.update(direction.elements)  # type: ignore[arg-type]
    return found


@per_sections("acls")
def counting(document: RouterDocument) -> dict[str, tuple[str, tuple[str, ...]]]:
    """By map, the group in which elements follow one another, and what their fields say."""
    fields = {
        "ports": ("port", "protocol", "far"),
        "crowd": ("far", "protocol", "port"),
        "icmp": ("far", "icmp_type", "icmp_code"),
        "protocol": ("far", "protocol"),
    }
    return {
        f"{direction.chain}_{layer}_{match}{version}": (
            f"{direction.chain} {match.replace('crowd', 'ports')}{version}",
            fields[match],
        )
        for direction in directions(document)
        # One more than there are: that a rule's elements came from, when the one before it went.
        for layer in range(direction.depth + 1)
        for match in fields
        for version in _WIDTHS
    }


def pointers(document: RouterDocument) -> dict[tuple[str, str], str]:
    """The place in the document (RFC 6901) of the rule that made an element, by map and element."""
    return {
        place: pointer("acls", name, "rules", rule)
        for name, acl in document.acls.items()
        for direction in DIRECTIONS
        for place, rule in compiled(acl, name, direction).owners.items()
    }


def compiled(acl: Acl, name: str, direction: str) -> Direction:
    return _lists.setdefault((name, direction), _List(name, direction)).compiled(acl)


class _List:
    """One direction of a list, as it was last and as it becomes: where a few rules come or go, they are all
    there is to do."""

    def __init__(self, name: str, direction: str) -> None:
        self._name, self._direction = name, direction
        self._chain = chain(name, direction)
        self._acl: Acl | None = None
        self._rules: Mapping[str, AclRule] = {}
        self._owners: dict[tuple[str, str], str] = {}
        self._begin({})

    def compiled(self, acl: Acl) -> Direction:
        if self._acl is not acl:
            self._update({key: rule for key, rule in acl.rules.items() if rule.direction == self._direction})
            self._acl, self._made = acl, self._direction_of(acl)
        return self._made

    def _update(self, rules: Mapping[str, AclRule]) -> None:
        come = different(rules, self._rules)
        gone = [key for key in self._rules if rules.get(key) is not self._rules[key]]
        self._owners = dict(self._owners)
        if len(come) + len(gone) > _FEW or not (
            all(self._remove(key) for key in gone) and all(self._add(key, rules[key]) for key in come)
        ):
            self._begin(rules)
        self._rules = rules

    def _begin(self, rules: Mapping[str, AclRule]) -> None:
        self._rules = rules
        self._present = dict(rules)
        self._towers = {
            version: Layering({key: _placed(rule, version) for key, rule in rules.items()}, width)
            for version, width in _WIDTHS.items()
        }
        self._sharing = Counter(
            box.detail for rule in rules.values() for box in boxes(rule) if has_ports(box)
        )
        self._elements: dict[str, dict[str, str]] = {}
        self._owners = {}
        for key, rule in rules.items():
            for place, text in self._places(key, rule):
                self._elements.setdefault(place, {})[text] = _verdict(rule, self._name, key)
                self._owners[place, text] = key

    def _add(self, key: str, rule: AclRule) -> bool:
        own = [box.detail for box in boxes(rule) if has_ports(box)]
        if any(self._sharing[detail] <= CROWD < self._sharing[detail] + len(own) for detail in own):
            return False
        for version, tower in self._towers.items():
            before = tower.add(key, _placed(rule, version))
            if before is None:
                return False
            self._move(version, before)
        self._sharing.update(own)
        self._present[key] = rule
        for place, text in self._places(key, rule):
            self._put(place, text, key)
        return True

    def _remove(self, key: str) -> bool:
        rule = self._present[key]
        own = [box.detail for box in boxes(rule) if has_ports(box)]
        if any(self._sharing[detail] > CROWD >= self._sharing[detail] - len(own) for detail in own):
            return False
        for place, text in self._places(key, rule):
            self._take(place, text)
        for version, tower in self._towers.items():
            before = tower.remove(key)
            if before is None:
                return False
            self._move(version, before)
        self._sharing.subtract(own)
        del self._present[key]
        return True

    def _move(self, version: int, before: Mapping[str, int]) -> None:
        """Rules' elements to the layers that they are in now."""
        # One may have the very element in a layer that another one leaves.
        for key, layer in before.items():
            for place, text in self._places(key, self._present[key], version=version, layer=layer):
                self._take(place, text)
        for key in before:
            for place, text in self._places(key, self._present[key], version=version):
                self._put(place, text, key)

    def _put(self, place: str, text: str, key: str) -> None:
        # Never in place: the engine keeps the mapping that it was given last.
        verdict = _verdict(self._present[key], self._name, key)
        self._elements[place] = {**self._elements.get(place, {}), text: verdict}
        self._owners[place, text] = key

    def _take(self, place: str, text: str) -> None:
        self._elements[place] = {each: to for each, to in self._elements[place].items() if each != text}
        del self._owners[place, text]

    def _places(
        self, key: str, rule: AclRule, *, version: int | None = None, layer: int | None = None
    ) -> list[tuple[str, str]]:
        """Map and element of each of a rule's boxes, or those of one version: in its layer, or in that."""
        found = []
        for box in boxes(rule):
            if version not in (None, box.version):
                continue
            match, text = element(box, crowded=self._sharing[box.detail] > CROWD)
            at = self._towers[box.version].layers[key] if layer is None else layer
            found.append((f"{self._chain}_{at}_{match}{box.version}", text))
        return found

    def _direction_of(self, acl: Acl) -> Direction:
        # There always is a first layer, so that a list's first rules are but elements.
        names = {f"{self._chain}_0_{match}{version}" for match in MATCHES for version in _WIDTHS}
        names.update(name for name, keys in self._elements.items() if keys)
        logged = [_logged(rule, self._name, key) for key, rule in self._rules.items() if rule.log]
        return Direction(
            acl=self._name,
            chain=self._chain,
            ingress=self._direction == "ingress",
            policy=acl.ingress_policy if self._direction == "ingress" else acl.egress_policy,
            lookups=tuple(sorted(map(self._lookup, names))),
            logged=tuple(sorted(logged, key=lambda each: each.chain)),
            elements={name: self._elements.get(name, {}) for name in sorted(names)},
            owners=self._owners,
        )

    def _lookup(self, name: str) -> Lookup:
        layer, _, kind = name.removeprefix(f"{self._chain}_").partition("_")
        return Lookup(int(layer), kind[:-1], int(kind[-1]), name)


_lists: dict[tuple[str, str], _List] = {}


def _placed(rule: AclRule, version: int) -> Rule:
    return Rule(rule.number, tuple((box.prefix, box.span) for box in boxes(rule) if box.version == version))


def _verdict(rule: AclRule, acl: str, name: str) -> str:
    return f"goto {_logged(rule, acl, name).chain}" if rule.log else _VERDICTS[rule.verdict]


def _logged(rule: AclRule, acl: str, name: str) -> Logged:
    return Logged(f"logged_{acl}/{name}", f"{rule.verdict} {acl}/{name}", _VERDICTS[rule.verdict])
