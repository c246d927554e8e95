import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from images.layer import lay, layer, linked

PROCESSES = multiprocessing.get_context("fork")


def slow(tree: Path) -> None:
    tree.mkdir()
    with (tree.parent / "builds").open("a") as builds:
        builds.write("x")
    (tree / "first").touch()
    time.sleep(0.4)
    (tree / "last").touch()


def test_is_made_once_and_then_there(tmp_path: Path) -> None:
    for _ in range(2):
        made = layer(tmp_path, "packages-1", slow)
    assert made == tmp_path / "packages-1"
    assert (tmp_path / "builds").read_text() == "x"


def test_a_failed_fill_leaves_nothing(tmp_path: Path) -> None:
    def fails(tree: Path) -> None:
        tree.mkdir()
        raise RuntimeError("no network")

    with pytest.raises(RuntimeError, match="no network"):
        layer(tmp_path, "packages-1", fails)
    assert [path.name for path in tmp_path.iterdir()] == [".packages-1.lock"]


def test_two_at_once_build_one(tmp_path: Path) -> None:
    builders = [PROCESSES.Process(target=layer, args=(tmp_path, "packages-1", slow)) for _ in range(3)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert [builder.exitcode for builder in builders] == [0, 0, 0]
    assert (tmp_path / "builds").read_text() == "x"


def test_never_shows_half_of_what_a_killed_builder_made(tmp_path: Path) -> None:
    builder = PROCESSES.Process(target=layer, args=(tmp_path, "packages-1", slow))
    builder.start()
    while not (tmp_path / ".packages-1.partial/first").exists():
        time.sleep(0.01)
    assert builder.pid is not None
    os.kill(builder.pid, signal.SIGKILL)
    builder.join()
    assert not (tmp_path / "packages-1").exists()
    made = layer(tmp_path, "packages-1", slow)
    assert (made / "last").exists()
    assert not (tmp_path / ".packages-1.partial").exists()


def test_laying_over_links_leaves_the_layer_below_alone(tmp_path: Path) -> None:
    (tmp_path / "below/etc").mkdir(parents=True)
    (tmp_path / "below/etc/hosts").write_text("below")
    (tmp_path / "rootfs/etc/new").mkdir(parents=True)
    (tmp_path / "rootfs/etc/hosts").write_text("ours")
    (tmp_path / "rootfs/etc/new/run").write_text("#!")
    (tmp_path / "rootfs/etc/new/run").chmod(0o700)
    (tmp_path / "rootfs/etc/masked.service").symlink_to("/dev/null")
    linked(tmp_path / "below", tmp_path / "top")
    lay(tmp_path / "rootfs", tmp_path / "top")
    assert (tmp_path / "below/etc/hosts").read_text() == "below"
    assert (tmp_path / "top/etc/hosts").read_text() == "ours"
    assert (tmp_path / "top/etc/hosts").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "top/etc/new/run").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "top/etc/masked.service").readlink() == Path("/dev/null")
