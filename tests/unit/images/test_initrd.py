import shutil
import subprocess
from pathlib import Path

import pytest

from images.initrd import cpio


def test_the_archive_is_one_that_cpio_reads(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "program").write_bytes(b"\x7fELF..")
    (tree / "bin" / "program").chmod(0o755)
    (tree / "sbin").symlink_to("bin")
    content = b"".join(cpio(tree, epoch=1_000_000_000))
    assert content == b"".join(cpio(tree, epoch=1_000_000_000))
    if shutil.which("cpio") is None:
        pytest.skip("there is no cpio here")
    unpack = ["cpio", "--extract", "--quiet", "--preserve-modification-time", "--no-preserve-owner"]
    (tmp_path / "out").mkdir()
    subprocess.run(unpack, input=content, cwd=tmp_path / "out", check=True)
    program = tmp_path / "out" / "sbin" / "program"
    assert program.read_bytes() == b"\x7fELF.."
    assert program.stat().st_mode & 0o777 == 0o755
    assert program.stat().st_mtime == 1_000_000_000
