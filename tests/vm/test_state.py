"""What a machine finds of its state: whole, damaged, or beyond repair. And a clock that was never set."""

import json
import subprocess
import time
from pathlib import Path

from appliance.agent.store import Store
from tests.vm.conftest import Start
from tests.vm.documents import DOCUMENT, text
from tests.vm.emulated import together

MIB = 1024 * 1024
HURT = 64 * 1024
"""Bytes at the beginning of a file system, with its superblock and its group descriptors."""


def test_damaged_state_is_repaired_or_replaced_and_said(machine: Start) -> None:
    """A state disk whose superblock is lost, and that has grown since, in a machine whose hardware clock
    lost its time, too; and a state partition that is lost as a whole."""
    disk, partition = machine("disk"), machine("partition", form="raw")
    disk.state = disk.directory / "state.raw"
    make_state(disk.state)
    overwrite(disk.state, bytes(HURT))
    disk.start("-rtc", "base=2020-01-01", bus="ahci", state_device="ide-hd,bus=ide.2")
    start, size = state_partition(partition.disk)
    zero = f"write -z {start} {size}"
    subprocess.run(["qemu-io", "-c", zero, partition.overlay], check=True, stdout=subprocess.DEVNULL)
    partition.start()
    together(disk.wait_until_it_answers, partition.wait_until_it_answers)

    status = disk.wait_until_it_answers()
    assert (status.state, status.generation) == ("converged", DOCUMENT["generation"])
    assert status.answer["storage"] == "disk: repaired"
    assert int(disk.run("df", "--output=size", "--block-size=1M", "/var/lib/sysvm").split()[1]) > 400
    # Later than its certificate, or no client's would be valid; no clock is better than a day, though.
    assert abs(float(disk.run("date", "+%s")) - time.time()) < 2 * 86400
    assert "The clock said 20" in disk.console

    status = partition.wait_until_it_answers()
    assert (status.state, status.answer["storage"]) == ("empty", "memory: damaged beyond repair")
    assert "RUNNING WITH AN EMPTY STATE IN MEMORY" in partition.console
    with partition.agent() as agent:
        assert agent.put(text(DOCUMENT)).state == "converged"


def test_a_lost_state_disk_is_left_as_it_is_and_a_document_that_is_none_is_said(machine: Start) -> None:
    lost, other = machine("lost"), machine("other")
    lost.state, other.state = lost.directory / "state.raw", other.directory / "state.raw"
    make_state(lost.state)
    size = lost.state.stat().st_size
    noise = b"\xa5\x5a" * (size // 2)
    overwrite(lost.state, noise)
    make_state(other.state, document="{")
    lost.start()
    other.start()
    together(lost.wait_until_it_answers, other.wait_until_it_answers)

    status = lost.wait_until_it_answers()
    assert (status.state, status.answer["storage"]) == ("empty", "memory: damaged beyond repair")
    assert "state disk: damaged beyond repair: RUNNING WITH AN EMPTY STATE IN MEMORY" in lost.console
    lost.cut_power()
    assert lost.state.read_bytes() == noise

    status = other.wait_until_it_answers()
    assert (status.state, status.generation) == ("degraded", 0)
    assert "The stored document can't be used" in str(status.detail)
    with other.agent() as agent:
        assert agent.put(text(DOCUMENT)).state == "converged"


def make_state(disk: Path, *, document: str | None = None) -> None:
    """A state disk of 256 MiB with an acknowledged document; it has grown to twice that since."""
    files = disk.with_suffix(".files")
    Store(files).write(DOCUMENT)
    if document is not None:
        (files / "document.json").write_text(document)
    argv: list[str | Path] = ["mke2fs", "-q", "-t", "ext4", "-L", "sysvm-state", "-d", files, disk, "256M"]
    subprocess.run(argv, check=True)
    with disk.open("ab") as grown:
        grown.truncate(512 * MIB)


def overwrite(disk: Path, content: bytes) -> None:
    with disk.open("r+b") as out:
        out.write(content)


def state_partition(disk: Path) -> tuple[int, int]:
    """Where it starts and how long it is, in bytes."""
    table = subprocess.run(["sfdisk", "--json", disk], check=True, capture_output=True, text=True).stdout
    partitions = json.loads(table)["partitiontable"]["partitions"]
    (state,) = (partition for partition in partitions if partition["name"] == "sysvm-state")
    return state["start"] * 512, state["size"] * 512
