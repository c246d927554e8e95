"""The two forms that the development cloud's machines may have: containers, and virtual machines."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.runtime import libvirtd
from appliance.runtime.host import CONTAINERS
from appliance.runtime.host import runtime as runtime_on
from appliance.runtime.runtime import Runtime
from images import qcow2, tree

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    cloud: str
    host: str
    """As `runtime.host` has it."""
    cache: Path | None = None
    progress: Progress = lambda step: None

    @property
    def virtual(self) -> bool:
        return self.host != CONTAINERS

    @property
    def runtime(self) -> Runtime:
        return runtime_on(self.host, cloud=self.cloud, progress=self.progress)

    def image(self, role: str) -> Path:
        """What a role's machines run. Raises RuntimeError where it can't be built."""
        build = qcow2.build if self.virtual else tree.build
        return build(role, cache=self.cache, progress=self.progress)

    def up(self) -> None:
        """Have what its machines need to run. Raises MachineError."""
        if self.virtual:
            libvirtd.up(self.cloud)


def chosen(
    cloud: str, *, virtual: bool, cache: Path | None = None, progress: Progress = lambda step: None
) -> Form:
    host = libvirtd.uri(cloud) if virtual else CONTAINERS
    return Form(cloud=cloud, host=host, cache=cache, progress=progress)


def present(cloud: str) -> Form:
    """The form that a cloud has; that of containers where it isn't up."""
    return chosen(cloud, virtual=libvirtd.daemon(cloud).running())


def tree_of(image: Path) -> str:
    """The tree that an image is made of, by which a machine says in /usr/lib/sysvm/image what it runs."""
    if image.is_dir():
        return image.name
    manifest = json.loads(image.with_suffix(".machine.manifest.json").read_bytes())
    return str(manifest["inputs"]["tree"])
