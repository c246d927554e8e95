"""Names of what we make on a host: found again by looking, without a file that remembers."""

import re
from pathlib import Path

PREFIX = "sysvm"
RUN = Path("/run/sysvm-clouds")
DISKS = Path("/var/lib/sysvm-clouds")
# No hyphens in a cloud's name: that `sysvm-CLOUD-*` never matches another cloud's.
CLOUD = re.compile(r"[a-z][a-z0-9]{0,11}")
MEMBER = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def cloud_prefix(cloud: str) -> str:
    """What the names of all things of a cloud begin with. Raises ValueError for an unusable cloud name."""
    if not CLOUD.fullmatch(cloud):
        raise ValueError(f"cloud {cloud!r}: up to 12 lower-case letters and digits, a letter first")
    return f"{PREFIX}-{cloud}-"


def full_name(cloud: str, name: str) -> str:
    """The name on the host of a cloud's machine, namespace or process."""
    if not MEMBER.fullmatch(name):
        raise ValueError(f"name {name!r}: up to 40 lower-case letters, digits and inner hyphens")
    return cloud_prefix(cloud) + name


def run_directory(cloud: str) -> Path:
    """Where a cloud's runtime files are; gone with the host's next boot."""
    cloud_prefix(cloud)
    return RUN / cloud


def disk_directory(cloud: str) -> Path:
    """Where the disks of a cloud's virtual machines are: too big for a directory in memory."""
    cloud_prefix(cloud)
    return DISKS / cloud


def state_directory(cloud: str, name: str) -> Path:
    """Where a machine's /var/lib/sysvm may be kept: it survives the machine, and goes with the cloud."""
    full_name(cloud, name)
    return run_directory(cloud) / "state" / name
