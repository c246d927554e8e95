import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from images.image import Image
from images.image import build as build_image
from images.step import Steps
from images.tree import default_cache
from tests.vm.emulated import Emulated

Start = Callable[..., Emulated]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The router's image in every form, built once."""
    if os.geteuid() != 0:
        pytest.skip("needs root, as trees do")
    if shutil.which("qemu-img") is None:
        pytest.skip("there is no qemu-img here")
    out = tmp_path_factory.mktemp("images")
    return build_image("router", out=out, cache=default_cache(), steps=Steps(log=out / "log"))


@pytest.fixture
def machine(image: Image, tmp_path: Path) -> Iterator[Start]:
    """Makes virtual machines of the image, not started yet; each loses its power at the end."""
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("there is no qemu-system-x86_64 here")
    made: list[Emulated] = []

    def make(name: str = "r1", *, form: str = "qcow2", size: str | None = None) -> Emulated:
        directory = tmp_path / name
        directory.mkdir()
        disk = image.directory / f"sysvm-router.{form}"
        made.append(Emulated(directory, disk, name=name, size=size))
        return made[-1]

    yield make
    for emulated in made:
        emulated.cut_power()
