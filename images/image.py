"""A role's image in every form: disks for each hypervisor, container forms, and what is said of them."""

import datetime
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path

from images import archive, boot, disk, drivers, inventory, libraries, oci, root, sbom, vhd, vmdk
from images.digest import of_files, of_text
from images.layer import locked, remove
from images.recipe import SUITE, Recipe
from images.step import Steps
from images.tree import build_recipe

FORMATS = ("raw", "qcow2", "vhd", "vmdk", "tar.gz", "oci.tar")
"""With `vmdk` comes the `ova` of it."""
DISKS = frozenset({"raw", "qcow2", "vhd", "vmdk"})
CONTAINERS = frozenset({"tar.gz", "oci.tar"})
SUMS = "SHA256SUMS"
_OURS = tuple(sorted(Path(__file__).parent.glob("*.py")))
PROJECT = "sysvm"


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """What was built."""

    role: str
    directory: Path
    files: tuple[Path, ...]
    unpacked: int
    """Bytes of the files of the machine's root file system; 0 where no disk was wanted."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """One build: where it takes from, where it writes, what it is called."""

    role: str
    cache: Path
    place: Path
    scratch: Path
    steps: Steps

    @property
    def name(self) -> str:
        return f"{PROJECT}-{self.role}"

    @property
    def version(self) -> str:
        return version_of(PROJECT)

    def file(self, suffix: str) -> Path:
        return self.place / f"{self.name}.{suffix}"


def build(role: str, *, out: Path, cache: Path, steps: Steps, formats: Collection[str] = FORMATS) -> Image:
    """Build the image of a role into the directory `out`/ROLE, which is replaced as a whole.

    Raises KeyError for a role without a recipe, RuntimeError naming the step that failed.
    """
    recipes = Recipe.of(role), Recipe.of_machine(role)
    out.mkdir(parents=True, exist_ok=True)
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    place, final = out / f".{role}.partial", out / role
    # Beside the trees: what is staged there are hard links of them.
    scratch = cache / f".image-{role}.scratch"
    with locked(cache / f".image-{role}.lock"):
        for left in (place, scratch):
            remove(left)
            left.mkdir()
        work = Build(role=role, cache=cache, place=place, scratch=scratch, steps=steps)
        with ThreadPoolExecutor() as threads:
            disks = threads.submit(machine, work, recipes[1], formats)
            trees = threads.submit(container, work, recipes[0], formats)
            unpacked = disks.result()
            trees.result()
        with steps("writing sums"):
            sums(place)
        remove(final)
        place.rename(final)
        remove(scratch)
    return Image(role=role, directory=final, files=tuple(sorted(final.iterdir())), unpacked=unpacked)


def builder() -> str:
    """A digest of what makes images of trees."""
    return of_files(_OURS)


def machine(work: Build, recipe: Recipe, formats: Collection[str]) -> int:
    """Write the disks that are wanted; how many bytes their files are."""
    steps = work.steps
    if not DISKS.intersection(formats):
        return 0
    with steps("building the machine's tree"):
        tree = build_recipe(recipe, cache=work.cache, progress=steps.started)
    with steps("kernel, boot loaders, drivers"):
        loaders = boot.build(cache=work.cache, progress=steps.started)
        busybox = tree / "usr/bin/busybox"
        chosen = drivers.build(loaders, busybox=busybox, cache=work.cache, progress=steps.started)
    with steps("staging the root file system"):
        staged = work.scratch / "root"
        root.stage(loaders, chosen, tree=tree, target=staged)
        epoch = max(root.newest(staged), loaders.epoch)
        root.clamp(staged, epoch=epoch)
        found = inventory.components(staged)
    inputs = {
        "suite": SUITE,
        "tree": tree.name,
        "loaders": loaders.tree.name,
        "drivers": chosen.layer.name,
        "builder": builder(),
        "qemu-img": boot.run(["qemu-img", "--version"]).splitlines()[0],
    }
    identity = disk.Identity(digest=of_text(*inputs.values(), *map(repr, found)), epoch=epoch)
    raw = work.file("raw") if "raw" in formats else work.scratch / "disk.raw"
    with steps("making the disk"):
        (work.scratch / "disk").mkdir()
        disk.make(
            loaders,
            raw,
            root=staged,
            initrd=chosen.initrd,
            appliance=recipe.appliance,
            identity=identity,
            scratch=work.scratch / "disk",
        )
    wanted = {form: convert for form, convert in converters(work, raw, identity).items() if form in formats}

    def convert(form: str) -> None:
        with steps(f"converting to {form}"):
            wanted[form]()

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in threads.map(convert, wanted):
            pass
    describe(work, "machine", found, inputs=inputs, epoch=epoch, identity=identity)
    return occupied(staged)


def converters(work: Build, raw: Path, identity: disk.Identity) -> Mapping[str, Callable[[], object]]:
    """How a raw disk becomes each of the other formats."""
    streamed = work.file("vmdk")

    def qcow2() -> None:
        # In order, so that the same disk gives the same file; compressed by as many threads as there are.
        convert: Sequence[str | Path] = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c"]
        boot.run([*convert, raw, work.file("qcow2")])

    def vmware() -> None:
        vmdk.write(raw, streamed)
        vmdk.write_ova(
            streamed,
            work.file("ova"),
            name=work.name,
            version=work.version,
            capacity=raw.stat().st_size,
            epoch=identity.epoch,
        )

    return {
        "qcow2": qcow2,
        "vhd": lambda: vhd.write(raw, work.file("vhd"), key=identity.uuid("vhd"), epoch=identity.epoch),
        "vmdk": vmware,
    }


def container(work: Build, recipe: Recipe, formats: Collection[str]) -> None:
    """Write the container forms that are wanted."""
    steps = work.steps
    if not CONTAINERS.intersection(formats):
        return
    with steps("building the container's tree"):
        tree = build_recipe(recipe, cache=work.cache, progress=steps.started)
        staged = work.scratch / "container"
        root.stage_container(tree, staged)
        epoch = root.newest(staged)
        root.clamp(staged, epoch=epoch)
        found = inventory.components(staged)
    inputs = {"suite": SUITE, "tree": tree.name, "builder": builder()}
    identity = disk.Identity(digest=of_text(*inputs.values(), *map(repr, found)), epoch=epoch)
    layer = work.file("tar.gz") if "tar.gz" in formats else work.scratch / "layer.tar.gz"
    with steps("archiving the container's tree"):
        archive.tree(staged, layer, epoch=epoch)
    if "oci.tar" in formats:
        with steps("writing the OCI image"):
            oci.write(
                work.file("oci.tar"),
                layer=layer,
                name=work.name,
                version=work.version,
                created=written(epoch),
                epoch=epoch,
            )
    describe(work, "container", found, inputs=inputs, epoch=epoch, identity=identity)


def describe(
    work: Build,
    form: str,
    found: list[inventory.Component],
    *,
    inputs: Mapping[str, str],
    epoch: int,
    identity: disk.Identity,
) -> None:
    """Write the bill of materials and the manifest of a form of the image."""
    bill = sbom.write(
        found,
        name=work.name,
        version=work.version,
        created=written(epoch),
        serial=identity.uuid("bill of materials"),
    )
    work.file(f"{form}.cdx.json").write_text(bill)
    manifest = {
        "name": work.name,
        "role": work.role,
        "form": form,
        "version": work.version,
        "created": written(epoch),
        "inputs": {**inputs, "requirements": of_files([libraries.LOCK])},
        "packages": inventory.versions(found, "deb"),
        "python": inventory.versions(found, "pypi"),
    }
    work.file(f"{form}.manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def sums(place: Path) -> None:
    """Write the SHA-256 sums of all files of a directory, as `sha256sum --check` reads them."""
    paths = sorted(place.iterdir())
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        digests = threads.map(archive.digest, paths)
        lines = [f"{digest}  {path.name}\n" for digest, path in zip(digests, paths, strict=True)]
    (place / SUMS).write_text("".join(lines))


def written(epoch: int) -> str:
    """A time as RFC 3339 writes it."""
    return datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def occupied(tree: Path) -> int:
    """Bytes of the tree's files, each once, in whole blocks."""
    seen: dict[int, int] = {}
    for directory, _, leaves in os.walk(tree):
        for leaf in leaves:
            status = (Path(directory) / leaf).lstat()
            seen[status.st_ino] = status.st_blocks * 512
    return sum(seen.values())
