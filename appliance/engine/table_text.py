"""The structure of an nft table as its parts, and what makes one of another: where few of many parts differ,
the others and all that their sets hold stay as they are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_BEGIN = re.compile(r"(chain|map|set) (\S+) \{")
_MOST_CHANGED = 100
"""Parts. Beyond that the table is made anew."""
Part = tuple[str, str]
"""Kind and name."""


@dataclass(frozen=True)
class Patch:
    """What differs. Hooks, their priorities and policies are the same."""

    flushed: tuple[str, ...]
    """Chains that lose their rules: they have others then, or go."""
    made: Mapping[Part, str]
    """Sets, maps and chains as their text has them; of a chain that was flushed its new rules."""
    sets_gone: tuple[Part, ...]
    chains_gone: tuple[str, ...]

    @property
    def summary(self) -> str:
        gone = len(self.sets_gone) + len(self.chains_gone)
        return f"{len(self.made)} sets and chains come or change, {gone} go"

    def declaration(self, table: str) -> str:
        """What comes, in nft syntax."""
        return f"table inet {table} {{\n{''.join(self.made.values())}}}\n"

    def commands(self, table: str, *, going: str, coming: str) -> str:
        """One transaction, with the commands that take elements away and add others."""
        place = f"inet {table}"
        return "".join(
            (
                *(f"flush chain {place} {name}\n" for name in self.flushed),
                going,
                *(f"delete {kind} {place} {name}\n" for kind, name in self.sets_gone),
                self.declaration(table),
                coming,
                *(f"delete chain {place} {name}\n" for name in self.chains_gone),
            )
        )


def patch(old: str, new: str) -> Patch | None:
    """None where a table of the new text has to be made anew."""
    before, after = parts(old), parts(new)
    if before is None or after is None:
        return None
    gone = before.keys() - after.keys()
    made = {part: text for part, text in after.items() if before.get(part) != text}
    if (not made and not gone) or len(made) + len(gone) > _MOST_CHANGED:
        return None
    for kind, name in (*made, *gone):
        part = kind, name
        if kind == "chain":
            # In which order hooks of one priority are asked follows from when they came.
            if _hook(before.get(part, "")) != _hook(after.get(part, "")):
                return None
        elif part in before and part in after:
            return None
    changed = [name for kind, name in made if kind == "chain" and (kind, name) in before]
    chains = sorted(name for kind, name in gone if kind == "chain")
    return Patch(
        flushed=tuple(sorted([*changed, *chains])),
        made=made,
        sets_gone=tuple(sorted(part for part in gone if part[0] != "chain")),
        chains_gone=tuple(chains),
    )


def parts(text: str) -> dict[Part, str] | None:
    """By kind and name, as the text has them, without comments. None where something isn't understood."""
    found: dict[Part, str] = {}
    lines: list[str] = []
    current: Part | None = None
    depth = 0
    for line in text.splitlines():
        plain = line.strip()
        if not plain or plain.startswith("#"):
            continue
        if depth == 1 and current is None and plain != "}":
            begun = _BEGIN.match(plain)
            if begun is None:
                return None
            current, lines = (begun[1], begun[2]), []
        if depth == 0 and not plain.startswith("table "):
            return None
        depth += _opened(plain)
        if current is not None:
            lines.append(f"{line}\n")
            if depth == 1:
                # A chain may be gone on with further below.
                found[current], current = found.get(current, "") + "".join(lines), None
    return found if depth == 0 else None


def _opened(line: str) -> int:
    """How many braces more are opened than closed, but for those in quotes."""
    bare = re.sub(r'"[^"]*"', "", line)
    return bare.count("{") - bare.count("}")


def _hook(text: str) -> str:
    """What makes a chain a hook's, with its policy; empty for others."""
    return " ".join(line.strip() for line in text.splitlines() if re.search(r"\btype \w+ hook ", line))
