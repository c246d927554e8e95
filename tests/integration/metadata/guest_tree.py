"""A Debian guest with the distribution's own cloud-init, run in a chroot in a guest's namespace."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from metadata_lab import Guest

CACHE = Path(os.environ.get("SYSVM_CACHE", "/var/cache/sysvm"))
PACKAGES = (
    "systemd-sysv,dbus,udev,kmod,cloud-init,dhcpcd-base,netplan.io,openssh-server,iproute2,iputils-ping,curl,"
    "wget,procps,sudo,dmidecode"
)


def guest_tree() -> Path:
    """The guest's tree, built once (half a minute)."""
    tree = CACHE / "guest-trixie"
    if tree.exists():
        return tree
    if shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not installed: no guest to run cloud-init in")
    CACHE.mkdir(parents=True, exist_ok=True)
    new = tree.with_name(f"guest-trixie.{os.getpid()}")
    # How this machine gets at a mirror, a guest's packages are got, too.
    options = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True)
    settings = CACHE / f"apt-{os.getpid()}.conf"
    settings.write_text(options.stdout)
    try:
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--aptopt={settings}", f"--include={PACKAGES}",
             "trixie", str(new)],
            check=True,
        )  # fmt: skip
        new.rename(tree)
    finally:
        settings.unlink()
    return tree


@dataclass(frozen=True, kw_only=True, slots=True)
class Booted:
    """What cloud-init made of a guest."""

    result: dict[str, object]
    metadata: dict[str, object]
    hostname: str
    shadow: str
    keys: str
    ran: str
    log: str


# What is left of a boot: DHCP has its own tests, and the address is there already.
_BOOT = """
hostname unnamed
cloud-init init
cloud-init modules --mode config
cloud-init modules --mode final
hostname > /out/hostname
cp /run/cloud-init/result.json /run/cloud-init/instance-data.json /var/log/cloud-init.log /out/
grep ^debian: /etc/shadow > /out/shadow
cat /home/debian/.ssh/authorized_keys > /out/keys
cat /ran > /out/ran
"""


def boot(
    guest: Guest, directory: Path, *, datasource: str, config: dict[str, object], uuid: str = ""
) -> Booted:
    """Run cloud-init in `guest` with one datasource. `uuid` is the system's, as SMBIOS would tell it."""
    upper, work, root = (directory / name for name in ("upper", "work", "root"))
    for path in (
        upper / "etc/cloud/cloud.cfg.d",
        upper / "usr/bin",
        upper / "usr/sbin",
        upper / "out",
        work,
        root,
    ):
        path.mkdir(parents=True)
    settings = {
        "datasource_list": [datasource],
        "datasource": {datasource: config},
        "network": {"config": "disabled"},
        "ssh_genkeytypes": ["ed25519"],
    }
    (upper / "etc/cloud/cloud.cfg.d/99_test.cfg").write_text(json.dumps(settings))
    (upper / "etc/resolv.conf").write_text("")
    # The router's name server tells this; without it, and without a lease, cloud-init 25.1 gives up.
    (upper / "etc/hosts").write_text("127.0.0.1 localhost\n10.1.1.1 data-server\n")
    # In a container cloud-init wouldn't ask what machine it is.
    virtualization = upper / "usr/bin/systemd-detect-virt"
    virtualization.write_text("#!/bin/sh\nexit 1\n")
    virtualization.chmod(0o755)
    dmidecode = upper / "usr/sbin/dmidecode"
    dmidecode.write_text(f"#!/bin/sh\ncase $2 in system-uuid|system-serial-number) echo {uuid};; esac\n")
    dmidecode.chmod(0o755)
    script = "\n".join([
        "set -e",
        f"mount -t overlay overlay -o lowerdir={guest_tree()},upperdir={upper},workdir={work} {root}",
        f"mount -t proc proc {root}/proc",
        # Without /sys/class/dmi cloud-init asks dmidecode, and so can be told what machine it is.
        f"mount -t sysfs sysfs {root}/sys",
        f"test ! -d {root}/sys/class/dmi || mount -t tmpfs tmpfs {root}/sys/class/dmi",
        f"mount --rbind /dev {root}/dev",
        f"mount -t tmpfs tmpfs {root}/run",
        f"mount -t tmpfs tmpfs {root}/tmp",
        f"chroot {root} sh -c '{_BOOT}'",
    ])  # fmt: skip
    done = subprocess.run(
        ["ip", "netns", "exec", guest.namespace, "unshare", "-m", "-p", "-u", "-f", "--kill-child",
         "sh", "-c", script],
        capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
    )  # fmt: skip
    out = upper / "out"

    def text(name: str) -> str:
        path = out / name
        return path.read_text() if path.exists() else ""

    assert text("result.json"), done.stdout + done.stderr + text("cloud-init.log")
    return Booted(
        result=json.loads(text("result.json"))["v1"],
        metadata=json.loads(text("instance-data.json")),
        hostname=text("hostname").strip(),
        shadow=text("shadow"),
        keys=text("keys"),
        ran=text("ran"),
        log=text("cloud-init.log"),
    )
