"""What of a table's elements and limits differs, and the commands for it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.engine.elements import Count, Moved, Pairs, Place
from appliance.resources import Limit, Ruleset

Elements = Mapping[str, Mapping[str, str | None]]


@dataclass
class Observed:
    generation: int
    structure: str
    elements: Elements
    limits: Mapping[str, Limit]


def creation(ruleset: Ruleset, name: str) -> str:
    limit = ruleset.limits[name]
    rate = f"rate over {limit.rate} bytes/second burst {limit.burst} bytes"
    return f"add limit inet {ruleset.table} {name} {{ {rate} ; }}\n"


def counts_text(counted: Mapping[Place, Count]) -> dict[str, dict[str, str]]:
    """What elements begin with, in nft syntax, by set."""
    found: dict[str, dict[str, str]] = {}
    for (name, key), count in counted.items():
        found.setdefault(name, {})[key] = f" counter packets {count.packets} bytes {count.bytes}"
    return found


def listed(elements: Any, counters: Mapping[str, str] = {}) -> str:
    return ", ".join(
        f"{key}{counters.get(key, '')}" if mapped is None else f"{key}{counters.get(key, '')} : {mapped}"
        for key, mapped in elements
    )


def moved(ruleset: Ruleset, observed: Observed) -> tuple[dict[str, Pairs], dict[str, Pairs]]:
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
class Delta:
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
        return self.going(ruleset) + self.coming(ruleset, counted)

    def going(self, ruleset: Ruleset) -> str:
        table = f"inet {ruleset.table}"
        # What users reach a script may change at any time.
        moving = ruleset.users.sets if ruleset.users is not None else ()
        parts = []
        for name, elements in self.gone.items():
            keys = ", ".join(key for key, _ in elements)
            if name in moving:
                parts.append(f"add element {table} {name} {{ {keys} }}\n")
            parts.append(f"delete element {table} {name} {{ {keys} }}\n")
        return "".join(parts)

    def coming(
        self, ruleset: Ruleset, counted: Mapping[Place, Count], *, new: Collection[str] = frozenset()
    ) -> str:
        """`new` are sets that the same transaction makes: some nft stumbles over `create` of several
        intervals there."""
        table, counters = f"inet {ruleset.table}", counts_text(counted)
        moving = ruleset.users.sets if ruleset.users is not None else ()
        parts = [f"delete limit {table} {name}\n" for name in self.limits_gone]
        parts += [creation(ruleset, name) for name in self.limits_come]
        parts += [
            f"{'add' if name in moving or name in new else 'create'} element {table} {name} "
            f"{{ {listed(elements, counters.get(name, {}))} }}\n"
            for name, elements in self.come.items()
        ]
        return "".join(parts)


def delta(ruleset: Ruleset, observed: Observed) -> Delta | None:
    """None where everything is as wanted."""
    gone, come = moved(ruleset, observed)
    unlike = _unlike(ruleset, observed)
    limits = [name for name in ruleset.limits if name in unlike or name not in observed.limits]
    if not (gone or come or unlike or limits):
        return None
    return Delta(gone, come, sorted(str(name) for name in unlike), limits)
