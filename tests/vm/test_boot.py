"""The image boots under each firmware, from what each hypervisor shows, with boot data by each way."""

import base64
import gzip
import subprocess
from pathlib import Path

from tests.vm.conftest import Start
from tests.vm.emulated import Emulated, together

LABEL = "SYSVM-BOOT"
NAME = "sysvm.boot"
WAITS = f"No boot data: waiting for a disk labelled {LABEL}"


def test_under_uefi_with_fw_cfg_and_directly_with_the_kernel_command_line(machine: Start) -> None:
    """The one has a key for ssh in its boot data, and an NVMe disk; the other starts as Xen starts
    paravirtual machines, with the kernel from outside of the disk, on SCSI. (Those of other tests start
    under BIOS, with an SMBIOS string, on virtio.)"""
    uefi, direct = machine("uefi", form="raw"), machine("direct", form="raw", size="3G")
    key = uefi.directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    uefi.boot["ssh_keys"] = [key.with_suffix(".pub").read_text().strip()]
    uefi.start(*fw_cfg(uefi.boot_file), smbios=False, uefi=True, bus="nvme,serial=1")
    line = f"{options(direct)} {NAME}={word(direct.boot_file.read_bytes())}"
    assert len(line) < 2048
    outside = ("-kernel", direct.directory / "vmlinuz", "-initrd", direct.directory / "initrd")
    direct.start(*outside, "-append", line, smbios=False, bus="scsi")
    together(uefi.wait_until_it_answers, direct.wait_until_it_answers)
    assert Path("/sys/firmware/efi").name in uefi.run("ls", "/sys/firmware")
    ssh: list[str | Path] = ["ssh", "-p", str(uefi.ssh_port), "-i", key, "-o", "BatchMode=yes"]
    ssh += ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={uefi.directory / 'known'}"]
    said = subprocess.run([*ssh, "root@127.0.0.1", "id", "-un"], capture_output=True, text=True)
    assert said.stdout == "root\n", said.stderr
    listening = {line.split()[4] for line in uefi.run("ss", "-Hlntu").splitlines()}
    assert listening == {"10.0.2.15:8443", "0.0.0.0%control0:22", "[::]%control0:22"}
    # The state partition is there where there is no state disk, and has grown to the disk.
    available = direct.run("df", "--output=size", "--block-size=1M", "/var/lib/sysvm").split()[1]
    assert int(available) > 2000
    uefi.power_button()
    # Whatever couldn't be stopped or unmounted would be named.
    assert "FAILED" not in uefi.console


def test_without_boot_data_it_says_so_and_takes_a_disk_that_comes_later(machine: Start) -> None:
    """A disk with FAT, that is plugged in. And where the word of the kernel command line is damaged, a CD
    that is put in after one without such a file."""
    plugged, inserted = machine("plugged"), machine("inserted", form="raw")
    plugged.start("-device", "qemu-xhci,id=usb", smbios=False)
    empty = iso(inserted.directory / "empty.iso", ETC=inserted.boot_file)
    whole = word(inserted.boot_file.read_bytes())
    line = f"{options(inserted)} {NAME}={whole[: len(whole) // 2]}"
    outside = ("-kernel", inserted.directory / "vmlinuz", "-initrd", inserted.directory / "initrd")
    drive = (
        "-drive",
        f"file={empty},format=raw,if=none,media=cdrom,id=cd",
        "-device",
        "ide-cd,drive=cd,id=cd0",
    )
    inserted.start(*outside, "-append", line, *drive, smbios=False)

    def plug() -> None:
        plugged.wait_for(WAITS)
        disk = fat(plugged.directory / "boot.img", plugged.boot_file)
        plugged.monitor("blockdev-add", driver="raw", **{"node-name": "boot"}, file=file(disk))
        plugged.monitor("device_add", driver="usb-storage", drive="boot", bus="usb.0")
        plugged.wait_until_it_answers()

    def insert() -> None:
        inserted.wait_for(f"The word {NAME}= of the kernel command line is damaged")
        inserted.wait_for(f"The disk labelled {LABEL} has no file {NAME}. {WAITS}")
        disk = iso(inserted.directory / "boot.iso", **{NAME: inserted.boot_file})
        inserted.monitor("blockdev-change-medium", id="cd0", filename=str(disk), force=True)
        inserted.wait_until_it_answers()

    together(plug, insert)


def test_boot_data_that_cannot_be_read_is_named_and_never_shown(machine: Start) -> None:
    by_smbios, by_fw_cfg, on_disk = machine("smbios"), machine("fw_cfg"), machine("disk")
    by_smbios.boot["control"]["address"] = "nowhere"
    by_smbios.start()
    whole = by_fw_cfg.boot_file.read_text()
    torn = by_fw_cfg.directory / "torn"
    torn.write_text(whole[: len(whole) // 2])
    by_fw_cfg.start(*fw_cfg(torn), smbios=False)
    on_disk.boot["role"] = "teapot"
    disk = fat(on_disk.directory / "boot.img", on_disk.boot_file)
    on_disk.start("-drive", f"file={disk},format=raw,if=virtio", smbios=False)
    together(
        lambda: by_smbios.wait_for("/control/address"),
        lambda: by_fw_cfg.wait_for("This is not JSON"),
        lambda: on_disk.wait_for("'teapot'"),
    )
    for one in (by_smbios, by_fw_cfg, on_disk):
        assert "The boot data can't be used" in one.console
        assert "PRIVATE KEY" not in one.console


def fw_cfg(path: Path) -> tuple[str, str]:
    return ("-fw_cfg", f"name=opt/io.systemd.credentials/{NAME},file={path}")


def word(boot_data: bytes) -> str:
    """Boot data as on the kernel command line, which has little room."""
    return base64.b64encode(gzip.compress(boot_data, mtime=0)).decode()


def options(machine: Emulated) -> str:
    """The kernel's command line as the boot loader has it; kernel and initrd are put into the directory."""
    esp = f"{machine.disk}@@{1024 * 1024}"
    for name in ("vmlinuz", "initrd", "loader/entries/sysvm.conf"):
        subprocess.run(["mcopy", "-n", "-i", esp, f"::/{name}", machine.directory], check=True)
    entry = (machine.directory / "sysvm.conf").read_text()
    (line,) = (line for line in entry.splitlines() if line.startswith("options "))
    return line.removeprefix("options ")


def fat(disk: Path, boot_data: Path) -> Path:
    """A disk with boot data."""
    with disk.open("wb") as out:
        out.truncate(2 * 1024 * 1024)
    subprocess.run(["mkfs.fat", "-n", LABEL, disk], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["mcopy", "-i", disk, boot_data, f"::/{NAME}"], check=True)
    return disk


def iso(disk: Path, **files: Path) -> Path:
    """The same as a CD, with these files."""
    grafts = [f"{name}={path}" for name, path in files.items()]
    argv: list[str | Path] = ["genisoimage", "-quiet", "-V", LABEL, "-o", disk, "-graft-points", *grafts]
    subprocess.run(argv, check=True, stderr=subprocess.DEVNULL)
    return disk


def file(path: Path) -> dict[str, str]:
    return {"driver": "file", "filename": str(path)}
