from pathlib import Path

import pytest

from images.modules import chosen


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "modules.dep").write_text(
        "kernel/net/a.ko.xz: kernel/lib/b.ko.xz kernel/lib/c.ko.xz\n"
        "kernel/lib/b.ko.xz: kernel/lib/c.ko.xz\n"
        "kernel/lib/c.ko.xz:\n"
        "kernel/net/sub/d.ko.xz:\n"
    )
    (tmp_path / "modules.builtin").write_text("kernel/net/inside.ko\n")
    return tmp_path


def test_what_a_module_needs_comes_with_it(source: Path) -> None:
    needed = {"kernel/net/a.ko.xz", "kernel/lib/b.ko.xz", "kernel/lib/c.ko.xz"}
    assert chosen(source, ["net/a"]) == needed
    assert chosen(source, ["net/*"]) == {*needed, "kernel/net/sub/d.ko.xz"}


def test_what_is_built_in_is_there_already(source: Path) -> None:
    assert chosen(source, ["net/inside"]) == set()


def test_a_module_that_was_renamed_is_missed(source: Path) -> None:
    with pytest.raises(RuntimeError, match="net/gone"):
        chosen(source, ["net/gone"])
