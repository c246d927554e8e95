"""The driver layer: the modules of a machine, and its initrd. They take seconds, and seldom change."""

from dataclasses import dataclass
from pathlib import Path

from images import digest, initrd, modules
from images.boot import Boot
from images.layer import Progress, layer, remove
from images.recipe import HERE

MODULES = HERE / "machine" / "modules"
_OURS = (MODULES, initrd.DRIVERS, initrd.INIT, Path(initrd.__file__), Path(modules.__file__))


@dataclass(frozen=True, slots=True)
class Drivers:
    """The driver layer, for use."""

    layer: Path

    @property
    def tree(self) -> Path:
        """The modules, from the root directory on."""
        return self.layer / "tree"

    @property
    def initrd(self) -> Path:
        return self.layer / "initrd"


def build(boot: Boot, *, busybox: Path, cache: Path, progress: Progress) -> Drivers:
    """The driver layer, from the cache or made. Raises RuntimeError."""

    def fill(place: Path) -> None:
        progress("choosing drivers, and an initrd of them")
        place.mkdir()
        modules.install(boot, MODULES, place / "tree")
        scratch = place / "scratch"
        made = initrd.make(boot, busybox=busybox, scratch=scratch, epoch=boot.epoch)
        made.rename(place / "initrd")
        remove(scratch)

    key = digest.of_text(boot.tree.name, digest.of_files([busybox, *_OURS]))
    return Drivers(layer(cache, f"drivers-{key}", fill))
