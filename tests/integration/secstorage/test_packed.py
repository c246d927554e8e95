"""Packed templates: unpacked as they are read, and bombs stopped."""

import bz2
import gzip
import io
import lzma
import subprocess
import zipfile
from pathlib import Path

import pytest

from secstorage.storage_server.scheduler import Scheduler
from tests.integration.secstorage.test_download_job import listed, nothing_is_left, scheduler, web
from tests.unit.secstorage.storage import DISK, Web, configuration, downloaded, running, sha256

__all__ = ["scheduler", "web"]


def packed(how: str) -> bytes:
    if how == "zip":
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("folder/disk.img", DISK)
        return target.getvalue()
    if how == "zstd":
        return subprocess.run(["zstd", "-qc"], input=DISK, stdout=subprocess.PIPE, check=True).stdout
    return {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}[how](DISK)


@pytest.mark.parametrize("how", ["gzip", "bzip2", "xz", "zstd", "zip"])
def test_packed(scheduler: Scheduler, web: Web, tmp_path: Path, how: str) -> None:
    web.content = packed(how)
    job = downloaded(scheduler, web.url, checksum=sha256(web.content))
    assert job["state"] == "done", job
    assert (tmp_path / "one/template/t/disk.raw").read_bytes() == DISK
    assert listed(scheduler)[0]["sha256"] == sha256(DISK)


@pytest.mark.parametrize("how", ["gzip", "xz", "zip"])
def test_packed_and_cut_off(scheduler: Scheduler, web: Web, tmp_path: Path, how: str) -> None:
    web.content = packed(how)[:-20]
    assert downloaded(scheduler, web.url)["error"]["code"] == "refused-file"
    nothing_is_left(scheduler, tmp_path)


def test_a_bomb(tmp_path: Path, web: Web) -> None:
    web.content = bz2.compress(bytes(200 << 20))
    with running(configuration(tmp_path, limits={"expansion": 10})) as scheduler:
        error = downloaded(scheduler, web.url)["error"]
        assert error["code"] == "refused-file" and "unpacks to more than" in error["detail"]
        nothing_is_left(scheduler, tmp_path)
