"""How large the router's images are."""

import tempfile
from pathlib import Path

from images.image import build
from images.step import Steps
from images.tree import default_cache
from tests.bench.benchmark import Say, table

TITLE = "Images: sizes"
_MB = 1_000_000
_SHOWN = ("qcow2", "raw", "vhd", "vmdk", "ova", "tar.gz", "oci.tar")


def run(say: Say) -> str:
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as place:
        out = Path(place)
        steps = Steps(log=out / "log", started=say)
        image = build("router", out=out, cache=default_cache(), steps=steps)
        sizes = {path.name.partition(".")[2]: path.stat() for path in image.files}
    rows = [["the root file system's files, unpacked", megabytes(image.unpacked)]]
    for form in _SHOWN:
        # Of a sparse file, what it takes.
        rows.append([form, megabytes(min(sizes[form].st_size, sizes[form].st_blocks * 512))])
    return table(["router", "MB"], rows)


def megabytes(size: int) -> str:
    return f"{size / _MB:,.0f}"
