import os
import tarfile
from pathlib import Path

import pytest

from images import archive


def sample(place: Path, *, names: list[str]) -> Path:
    (place / "etc").mkdir(parents=True)
    for name in names:
        (place / "etc" / name).write_text(name)
    (place / "link").symlink_to("etc")
    os.link(place / "etc" / "a", place / "hard")
    return place


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    # Made in another order, at another time.
    first = sample(tmp_path / "1", names=["a", "b", "c"])
    second = sample(tmp_path / "2", names=["c", "b", "a"])
    os.utime(second / "etc" / "b", (2_000_000_000, 2_000_000_000))
    for tree in (first, second):
        archive.tree(tree, tree.with_suffix(".tar.gz"), epoch=1_000_000_000)
    assert first.with_suffix(".tar.gz").read_bytes() == second.with_suffix(".tar.gz").read_bytes()


def test_links_stay_links(tmp_path: Path) -> None:
    archive.tree(sample(tmp_path / "1", names=["a"]), tmp_path / "tar.gz", epoch=1_000_000_000)
    with tarfile.open(tmp_path / "tar.gz") as tar:
        assert tar.getnames() == ["hard", "link", "etc", "etc/a"]
        assert tar.getmember("link").linkname == "etc"
        assert tar.getmember("etc/a").linkname == "hard"
        assert {member.mtime for member in tar.getmembers()} == {1_000_000_000}


def test_attributes_that_would_get_lost_are_refused(tmp_path: Path) -> None:
    tree = sample(tmp_path / "1", names=["a", "b"])
    try:
        os.setxattr(tree / "etc" / "b", "user.colour", b"red")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    with pytest.raises(RuntimeError, match="extended attributes"):
        archive.tree(tree, tmp_path / "tar.gz", epoch=0)
