"""A package layer is made whatever else its builder has open."""

import os
from pathlib import Path

from images import packages


def test_many_open_files_are_no_matter(tmp_path: Path) -> None:
    # As many as two layers that are made side by side, and the locks of the image around them, and more.
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    try:
        for descriptor in opened:
            os.set_inheritable(descriptor, True)
        words = [*packages.options(variant="extract"), "--variant=extract"]
        packages.bootstrap(tmp_path / "tree", ["hostname"], options=words)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    assert (tmp_path / "tree/usr/bin/hostname").is_file()
