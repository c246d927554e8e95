"""A cloud's own libvirtd, in the network namespace of its segments.

A development cloud shall need no libvirt of the host's and leave none there: this one has directories of its
own in place of the host's, and the machines it starts are in its control group, which ends with the cloud.
"""

import time
from contextlib import suppress
from pathlib import Path

from appliance import disk
from appliance.runtime.daemon import Daemon
from appliance.runtime.hypervisor import Hypervisor
from appliance.runtime.naming import disk_directory, run_directory
from appliance.runtime.runtime import MachineError

NAME = "libvirtd"
_CACHE = Path("/var/cache/sysvm/libvirt")
"""What it finds out about QEMU, which takes ten seconds, the next one needn't."""
_DAEMON = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
"""
# Without virtlogd, a user of QEMU's own and control groups: who runs a development cloud is root, and the
# machines are to end with the group that the daemon is in.
_QEMU = """\
user = "root"
group = "root"
dynamic_ownership = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""
# What libvirt has compiled in as its places. The users are named there, too, and only a package of Debian's
# that also starts the host's own libvirtd makes them.
_SCRIPT = """\
set -e
for place in etc/libvirt var/lib/libvirt var/cache/libvirt var/log/libvirt run/libvirt; do
    case $place in
        var/lib/*) own=$2 ;;
        var/cache/*) own=$3 ;;
        *) own=$1/$place ;;
    esac
    mkdir -p "$own" "/$place"
    mount --bind "$own" "/$place"
done
for file in passwd group; do
    cp "/etc/$file" "$1/$file"
done
grep -q '^libvirt-qemu:' "$1/passwd" || echo 'libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin' >>"$1/passwd"
for group in kvm libvirt-qemu; do
    grep -q "^$group:" "$1/group" || echo "$group:x:64055:" >>"$1/group"
done
for file in passwd group; do
    mount --bind "$1/$file" "/etc/$file"
done
# It would make this one when it logs first, which consoles may come before.
mkdir -p /var/log/libvirt/qemu
mount -t sysfs sysfs /sys
exec libvirtd --config "$1/libvirtd.conf" --pid-file "$1/libvirtd.pid"
"""
_START_SECONDS = 30.0


def daemon(cloud: str) -> Daemon:
    places = (str(_place(cloud)), str(disk_directory(cloud)), str(_CACHE))
    return Daemon(
        cloud=cloud,
        name=NAME,
        namespace="switch",
        argv=("unshare", "--mount", "--propagation=private", "sh", "-c", _SCRIPT, "sh", *places),
    )


def up(cloud: str) -> str:
    """Have it up; its URI. Raises MachineError with the end of its log where it doesn't start."""
    with suppress(MachineError):
        return _answering(cloud)
    process = daemon(cloud)
    disk.replace(_place(cloud) / "libvirtd.conf", _DAEMON.encode())
    disk.replace(_place(cloud) / "etc/libvirt/qemu.conf", _QEMU.encode())
    # Its machines may be in the group still: one that starts anew finds them.
    process.launch()
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return _answering(cloud)
        except MachineError as error:
            if time.monotonic() > deadline or not process.running():
                said = process.log.read_text(errors="replace") if process.log.exists() else ""
                last = "\n".join(said.splitlines()[-8:])
                raise MachineError(f"{error}\n{last}") from error
        time.sleep(0.05)


def uri(cloud: str) -> str:
    return f"qemu+unix:///system?socket={_place(cloud)}/run/libvirt/libvirt-sock"


def _answering(cloud: str) -> str:
    Hypervisor(uri=uri(cloud)).identity()
    return uri(cloud)


def _place(cloud: str) -> Path:
    return run_directory(cloud) / NAME
