"""A role's bootable disk by itself, from the cache or made: what a virtual machine of this checkout runs."""

import shutil
from pathlib import Path

from images import boot, drivers, image
from images.digest import of_text
from images.layer import Progress, layer
from images.recipe import Recipe
from images.step import Steps
from images.tree import build_recipe, default_cache, prune


def build(role: str, *, cache: Path | None = None, progress: Progress = lambda step: None) -> Path:
    """The file of the disk. Raises KeyError for a role without a recipe, RuntimeError naming the step."""
    cache = cache or default_cache()
    recipe = Recipe.of_machine(role)
    tree = build_recipe(recipe, cache=cache, progress=progress)
    loaders = boot.build(cache=cache, progress=progress)
    chosen = drivers.build(loaders, busybox=tree / "usr/bin/busybox", cache=cache, progress=progress)
    key = of_text(tree.name, loaders.tree.name, chosen.layer.name, image.builder())

    def fill(directory: Path) -> None:
        progress(f"{role}: making the disk")
        out = cache / f".disk-{role}-{key}.out"
        made = image.build(role, out=out, cache=cache, steps=Steps(log=out / "log"), formats=["qcow2"])
        made.directory.rename(directory)
        shutil.rmtree(out)

    place = layer(cache, f"disk-{role}-{key}", fill)
    prune(cache, f"disk-{role}")
    return place / f"{image.PROJECT}-{role}.qcow2"
