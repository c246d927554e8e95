"""A package layer is made whatever else its builder has open."""

import subprocess
import sys
from pathlib import Path

# As many as two layers that are made side by side, and the locks of the image around them, and more.
BUILD = """
import os, sys
from pathlib import Path
from images import packages

for _ in range(20):
    os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)
packages.bootstrap(Path(sys.argv[1]), ["hostname"], options=packages.options(variant="essential"))
"""


def test_many_open_files_are_no_matter(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", BUILD, str(tmp_path / "tree")]
    built = subprocess.run(argv, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "tree/usr/bin/hostname").is_file()
