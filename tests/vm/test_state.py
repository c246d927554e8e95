"""Where an appliance's state is kept: on a disk of its own, if there is one."""

from pathlib import Path

from tests.vm.conftest import Start
from tests.vm.documents import DOCUMENT, text

MIB = 1024 * 1024


def test_a_state_disk_outlives_the_system_disk(machine: Start) -> None:
    old = machine("old")
    state = old.directory.parent / "state.raw"
    grow(state, 64 * MIB)
    old.start(*disk(state, "virtio-blk-pci,serial=sysvm-state"))
    status = old.wait_until_it_answers()
    assert (status.state, status.answer["storage"]) == ("empty", "disk")
    assert "state disk: blank; making a file system" in old.console
    with old.agent() as agent:
        assert agent.put(text(DOCUMENT)).state == "converged"
    assert old.run("findmnt", "--noheadings", "--output", "SOURCE", "/var/lib/sysvm").strip() == "/dev/vdb"
    old.cut_power()
    # As an upgrade does: another system disk. The state disk is on another bus, too, and has grown.
    new = machine("new")
    new.boot, new.authority = old.boot, old.authority
    grow(state, 1024 * MIB)
    new.start(*disk(state, "scsi-hd,serial=sysvm-state"), bus="scsi")
    status = new.wait_until_it_answers()
    assert (status.state, status.generation) == ("converged", DOCUMENT["generation"])
    size = new.run("df", "--output=size", "--block-size=1M", "/var/lib/sysvm").split()[1]
    assert int(size) > 900
    new.cut_power()


def grow(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.truncate(size)


def disk(path: Path, device: str) -> tuple[str, ...]:
    """QEMU's words for one more disk."""
    return ("-drive", f"file={path},format=raw,if=none,id=more", "-device", f"{device},drive=more")
