"""Recipes: what a role's tree is made of.

A part is a directory here: `packages` (one Debian package a line, `#` comments), `excluded` (globs of their
files that are left out, if any) and `rootfs/`, which mirrors `/`. A role is a list of parts, later ones over
earlier ones. `extracted`, if there, names packages that are files for others to read: they are laid in
without what they depend on.
"""

from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).parent
SUITE = "trixie"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    name: str
    parts: tuple[Path, ...]
    appliance: bool
    """Whether our packages and their libraries go in. A guest has none: it is somebody else's machine."""

    @classmethod
    def of(cls, role: str) -> "Recipe":
        """What containers of a role are made of. Raises KeyError for a role without a recipe."""
        return ROLES[role]

    @classmethod
    def of_machine(cls, role: str) -> "Recipe":
        """What virtual machines of a role are made of: they have hardware of their own to drive."""
        recipe = ROLES[role]
        own = HERE / ("machine" if recipe.appliance else "guest-machine")
        return replace(recipe, name=f"machine-{role}", parts=(*recipe.parts, own))

    def packages(self) -> tuple[str, ...]:
        """The Debian packages of all parts, sorted, each once."""
        found: set[str] = set()
        for part in self.parts:
            found.update(listed((part / "packages").read_text()))
        return tuple(sorted(found))

    def excluded(self) -> tuple[str, ...]:
        """Globs of files that Debian's packages bring and nobody needs, as dpkg's path-exclude."""
        return self._all("excluded")

    def extracted(self) -> tuple[str, ...]:
        """The Debian packages of which only the files are wanted."""
        return self._all("extracted")

    def _all(self, name: str) -> tuple[str, ...]:
        found: set[str] = set()
        for part in self.parts:
            if (part / name).exists():
                found.update(listed((part / name).read_text()))
        return tuple(sorted(found))

    def rootfs(self) -> tuple[Path, ...]:
        """The trees to lay over the packages, in order."""
        return tuple(part / "rootfs" for part in self.parts if (part / "rootfs").is_dir())


ROLES = {
    "router": Recipe(name="router", parts=(HERE / "base", HERE / "router"), appliance=True),
    "secstorage": Recipe(name="secstorage", parts=(HERE / "base", HERE / "secstorage"), appliance=True),
    "consoleproxy": Recipe(
        name="consoleproxy", parts=(HERE / "base", HERE / "consoleproxy"), appliance=True
    ),
    "guest": Recipe(name="guest", parts=(HERE / "guest",), appliance=False),
}


def listed(text: str) -> list[str]:
    """The entries of a list file: one a line, `#` begins a comment."""
    entries = (line.partition("#")[0].strip() for line in text.splitlines())
    return [entry for entry in entries if entry]
