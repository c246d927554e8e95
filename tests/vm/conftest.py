import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from images.image import Image
from images.image import build as build_image
from images.step import Steps
from images.tree import default_cache
from tests.vm.documents import PUBLIC
from tests.vm.emulated import Emulated, blank_state
from tests.vm.internet import Internet

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


@pytest.fixture(scope="session")
def outside() -> Iterator[Internet]:
    """What the public card of the machine `running` leads to."""
    internet = Internet(f"vmi{os.getpid() % 10**9}")
    yield internet
    internet.close()


@pytest.fixture(scope="session")
def running(image: Image, outside: Internet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """One router that has booted, with a state disk of its own, for tests that leave it as it was. A card
    can be plugged into the slot `free`."""
    needs_qemu()
    directory = tmp_path_factory.mktemp("running")
    router = Emulated(directory, image.directory / "sysvm-router.qcow2", state=blank_state(directory))
    slot = ("-device", "pcie-root-port,id=free,chassis=1,slot=1")
    router.start(*slot, *outside.arguments(PUBLIC), files=[outside.tap])
    try:
        router.wait_until_it_answers()
        yield router
    finally:
        router.cut_power()


def needs_qemu() -> None:
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("there is no qemu-system-x86_64 here")


@pytest.fixture
def machine(image: Image, tmp_path: Path) -> Iterator[Start]:
    """Makes virtual machines of the image, not started yet; each loses its power at the end."""
    needs_qemu()
    made: list[Emulated] = []

    def make(
        name: str = "one", *, form: str = "qcow2", size: str | None = None, state: Path | None = None
    ) -> Emulated:
        directory = tmp_path / name
        directory.mkdir()
        disk = image.directory / f"sysvm-router.{form}"
        made.append(Emulated(directory, disk, size=size, state=state))
        return made[-1]

    yield make
    for emulated in made:
        emulated.cut_power()
