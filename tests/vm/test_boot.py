"""The image boots under each firmware, from what each hypervisor shows, with boot data by each way."""

import base64
import gzip
import json
import subprocess
from pathlib import Path

import pytest

from tests.vm.conftest import Start
from tests.vm.emulated import Emulated

DOCUMENT = {"role": "router", "name": "r1", "generation": 7}


def config_disk(machine: Emulated) -> Path:
    """A disk labelled SYSVM-BOOT with the machine's boot data."""
    disk = machine.directory / "boot.img"
    with disk.open("wb") as out:
        out.truncate(2 * 1024 * 1024)
    subprocess.run(["mkfs.fat", "-n", "SYSVM-BOOT", disk], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["mcopy", "-i", disk, machine.boot_file, "::/sysvm.boot"], check=True)
    return disk


def test_a_router_under_bios_keeps_its_document_over_a_power_cut(machine: Start) -> None:
    router = machine(size="3G")
    router.start()
    status = router.wait_until_it_answers()
    assert (status.state, status.generation) == ("empty", 0)
    assert all(status.answer["capabilities"].values()), status.answer["capabilities"]
    assert status.answer["storage"] == "disk"
    with router.agent() as agent:
        assert agent.put(json.dumps(DOCUMENT)).state == "converged"
    router.cut_power()
    # Another controller and another card, too: drivers are found by what is there.
    router.start(bus="vmware", card="vmxnet3")
    status = router.wait_until_it_answers()
    assert (status.state, status.generation) == ("converged", 7)
    available = router.run("df", "--output=size", "--block-size=1M", "/var/lib/sysvm").split()[1]
    assert int(available) > 2000
    router.power_button()
    # Whatever couldn't be stopped or unmounted would be named.
    assert "FAILED" not in router.console


def test_a_router_under_uefi_is_closed_and_read_only(machine: Start) -> None:
    router = machine(form="raw")
    router.start(
        *("-fw_cfg", f"name=opt/io.systemd.credentials/sysvm.boot,file={router.boot_file}"),
        smbios=False,
        uefi=True,
        bus="nvme,serial=1",
    )
    router.wait_until_it_answers()
    assert Path("/sys/firmware/efi").name in router.run("ls", "/sys/firmware")
    assert router.run("systemctl", "--failed", "--no-legend", "--plain") == ""
    assert router.run("findmnt", "--noheadings", "--output", "OPTIONS", "/").startswith("ro")
    passwords = router.run("cut", "-d:", "-f2", "/etc/shadow").split()
    assert set(passwords) <= {"*", "!", "!*"}
    listening = {line.split()[4] for line in router.run("ss", "-Hlntu").splitlines()}
    assert listening == {"10.0.2.15:8443"}
    assert "RuntimeWatchdogUSec=30s" in router.run("systemctl", "show", "--property=RuntimeWatchdogUSec")
    # The journal is on the state partition, and starts with the boot.
    assert "Linux version" in router.run("journalctl", "--directory=/var/log/journal", "--boot", "--dmesg")


def test_a_router_without_boot_data_says_so_and_takes_a_disk_that_is_plugged_in(machine: Start) -> None:
    router = machine()
    router.start("-device", "qemu-xhci,id=usb", smbios=False)
    router.wait_for("No boot data: waiting for a disk labelled SYSVM-BOOT")
    disk = config_disk(router)
    router.monitor("blockdev-add", driver="raw", **{"node-name": "boot"}, file=file(disk))
    router.monitor("device_add", driver="usb-storage", drive="boot", bus="usb.0")
    router.wait_until_it_answers()


def test_whoever_has_the_key_logs_in_through_the_control_interface(machine: Start) -> None:
    router = machine()
    key = router.directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    router.boot["ssh_keys"] = [key.with_suffix(".pub").read_text().strip()]
    router.start()
    router.wait_until_it_answers()
    ssh: list[str | Path] = ["ssh", "-p", str(router.ssh_port), "-i", key, "-o", "BatchMode=yes"]
    ssh += ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={router.directory / 'known'}"]
    said = subprocess.run([*ssh, "root@127.0.0.1", "id", "-un"], capture_output=True, text=True)
    assert said.stdout == "root\n", said.stderr
    listening = {line.split()[4] for line in router.run("ss", "-Hlntu").splitlines()}
    assert listening == {"10.0.2.15:8443", "0.0.0.0%control0:22", "[::]%control0:22"}


def test_boot_data_on_the_kernel_command_line(machine: Start) -> None:
    """As Xen starts paravirtual machines: the kernel from outside of the disk."""
    router = machine(form="raw")
    esp = f"{router.disk}@@{1024 * 1024}"
    for name in ("vmlinuz", "initrd", "loader/entries/sysvm.conf"):
        subprocess.run(["mcopy", "-i", esp, f"::/{name}", router.directory], check=True)
    entry = (router.directory / "sysvm.conf").read_text()
    options = next(line for line in entry.splitlines() if line.startswith("options ")).removeprefix(
        "options "
    )
    word = base64.b64encode(gzip.compress(router.boot_file.read_bytes(), mtime=0)).decode()
    line = f"{options} sysvm.boot={word}"
    assert len(line) < 2048
    outside = ("-kernel", router.directory / "vmlinuz", "-initrd", router.directory / "initrd")
    router.start(*outside, "-append", line, smbios=False, bus="scsi")
    router.wait_until_it_answers()


def file(path: Path) -> dict[str, str]:
    return {"driver": "file", "filename": str(path)}


def test_boot_data_that_cannot_be_read_is_named_and_never_shown(machine: Start) -> None:
    router = machine()
    router.boot["control"]["address"] = "nowhere"
    router.start()
    router.wait_for("/control/address")
    assert "PRIVATE KEY" not in router.console


@pytest.mark.parametrize("damage", ["superblock", "all"])
def test_a_damaged_state_partition(machine: Start, damage: str) -> None:
    router = machine(form="raw")
    start, size = state_partition(router.disk)
    length = 64 * 1024 if damage == "superblock" else size
    zero = f"write -z {start} {length}"
    subprocess.run(["qemu-io", "-c", zero, router.overlay], check=True, stdout=subprocess.DEVNULL)
    router.start()
    status = router.wait_until_it_answers()
    if damage == "superblock":
        assert status.answer["storage"] == "disk: repaired"
        return
    assert status.answer["storage"] == "memory: damaged beyond repair"
    assert "RUNNING WITH AN EMPTY STATE IN MEMORY" in router.console
    with router.agent() as agent:
        assert agent.put(json.dumps(DOCUMENT)).state == "converged"


def state_partition(disk: Path) -> tuple[int, int]:
    """Where it starts and how long it is, in bytes."""
    table = subprocess.run(["sfdisk", "--json", disk], check=True, capture_output=True, text=True).stdout
    partitions = json.loads(table)["partitiontable"]["partitions"]
    (state,) = (partition for partition in partitions if partition["name"] == "sysvm-state")
    return state["start"] * 512, state["size"] * 512
