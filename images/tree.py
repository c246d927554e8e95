"""Ready trees: a role's packages, libraries and our own files, to boot from.

Three layers, each a whole tree of hard links on the one before it, so that a change of our code makes
only the last, which takes a second or two:

    packages-ROLE-KEY     mmdebstrap
    libraries-ROLE-KEY    + requirements/appliance.txt
    ROLE-KEY              + our packages and the parts' rootfs/
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from images import libraries, packages
from images.digest import of_text, of_trees
from images.layer import Fill, Progress, lay, layer, linked, remove, used
from images.recipe import Recipe

SOURCE = Path(__file__).parents[1]
CODE = ("appliance", "router", "secstorage", "consoleproxy", "templates")
# What stays on the machine that runs appliances.
OUTSIDE = (
    "appliance/cli.py",
    "appliance/deployment.py",
    "appliance/devcloud",
    "appliance/direct.py",
    "appliance/documents.py",
    "appliance/machines.py",
    "appliance/management",
    "appliance/runtime",
)
KEPT = 8
"""Layers of one kind that stay in the cache, the last used; more while something runs from them."""
READ_SECONDS = 1800
"""For so long after a build asked for a layer it may read it."""


def default_cache() -> Path:
    """Where trees are kept unless somebody says otherwise: $SYSVM_CACHE, or /var/cache/sysvm."""
    return Path(os.environ.get("SYSVM_CACHE", "/var/cache/sysvm"))


def build(role: str, *, cache: Path | None = None, progress: Progress = lambda step: None) -> Path:
    """The tree of a role, built if the cache doesn't have it. Needs root.

    `progress` is told each step that takes time; none means that the tree was there already.
    Raises KeyError for a role without a recipe, RuntimeError with the tool's own words when one fails.
    """
    return build_recipe(Recipe.of(role), cache=cache or default_cache(), progress=progress)


def build_recipe(recipe: Recipe, *, cache: Path, progress: Progress) -> Path:
    """The same for any recipe."""
    extras = {"excluded": recipe.excluded(), "extracted": recipe.extracted()}
    bottom_key = packages.key(recipe.packages(), **extras)
    below_key = libraries.key(packages=bottom_key) if recipe.appliance else bottom_key
    final = cache / f"{recipe.name}-{top_key(recipe, below=below_key)}"
    if final.is_dir():
        used(final)
        return final

    def announced(step: str, fill: Fill) -> Fill:
        def with_word(tree: Path) -> None:
            progress(f"{recipe.name}: {step}")
            fill(tree)

        return with_word

    filled = packages.fill(recipe.packages(), **extras)
    bottom = announced("installing Debian packages", filled)
    below = layer(cache, f"packages-{recipe.name}-{bottom_key}", bottom)
    if recipe.appliance:
        middle = announced("installing Python libraries", libraries.fill(packages=below))
        below = layer(cache, f"libraries-{recipe.name}-{below_key}", middle)
    layer(
        cache,
        final.name,
        announced("laying our files on top", fill_top(recipe, below=below, name=final.name)),
    )
    for kind in (recipe.name, f"packages-{recipe.name}", f"libraries-{recipe.name}"):
        prune(cache, kind)
    return final


def top_key(recipe: Recipe, *, below: str) -> str:
    """What a role's ready tree is called by."""
    code = code_trees() if recipe.appliance else []
    return of_text(
        below, of_trees(recipe.rootfs()), of_trees(code, ignored=outside), Path(__file__).read_text()
    )


def code_trees() -> list[Path]:
    return [SOURCE / name for name in CODE if (SOURCE / name).is_dir()]


def fill_top(recipe: Recipe, *, below: Path, name: str) -> Fill:
    def assemble(tree: Path) -> None:
        linked(below, tree)
        for rootfs in recipe.rootfs():
            lay(rootfs, tree)
        if recipe.appliance:
            for code in code_trees():
                lay(code, tree / libraries.PLACE / code.name, ignored=outside)
            # An appliance says in its status what it was built from.
            (tree / libraries.PLACE / "image").write_text(f"{name}\n")
            libraries.compile_python(tree)
            libraries.compile_templates(tree)
        sysusers: list[str | Path] = ["chroot", tree, "systemd-sysusers"]
        subprocess.run(sysusers, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        # Newer than /usr: boot needn't bring caches up to date (systemd.unit(5), ConditionNeedsUpdate=).
        for stamp in ("etc/.updated", "var/.updated"):
            (tree / stamp).unlink(missing_ok=True)
            (tree / stamp).touch()

    return assemble


def outside(path: Path) -> bool:
    relative = path.relative_to(SOURCE)
    return any(relative.is_relative_to(place) for place in OUTSIDE)


def prune(cache: Path, kind: str) -> None:
    """Remove the layers of a kind that haven't been used for the longest, but for those that something runs
    from or that may be read just now."""
    mounted = lower_directories()
    now = time.time()
    last_used = dict(_last_used(cache, kind))
    for tree in sorted(last_used, key=last_used.__getitem__, reverse=True)[KEPT:]:
        if str(tree) not in mounted and now - last_used[tree] > READ_SECONDS:
            # Whoever reads it yet is told that it is gone, instead of finding a part of it. Another build
            # may be removing it, too.
            with suppress(FileNotFoundError):
                tree.rename(cache / f".{tree.name}.gone")
            (cache / f".{tree.name}.lock").unlink(missing_ok=True)
    for gone in cache.glob(f".{kind}-*.gone"):
        remove(gone)


def _last_used(cache: Path, kind: str) -> Iterator[tuple[Path, float]]:
    for path in cache.glob(f"{kind}-*"):
        with suppress(FileNotFoundError):
            if path.is_dir():
                yield path, path.stat().st_ctime


def lower_directories() -> set[str]:
    """The lower directories of every overlay mounted in any mount namespace."""
    found: set[str] = set()
    for mounts in Path("/proc").glob("[0-9]*/mounts"):
        try:
            lines = mounts.read_text().splitlines()
        except OSError:
            continue  # The process ended meanwhile, or is a zombie.
        for line in lines:
            for option in line.split(" ")[3].split(","):
                if option.startswith("lowerdir="):
                    found.update(option.removeprefix("lowerdir=").split(":"))
    return found
