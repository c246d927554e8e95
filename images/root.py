"""The root file system of a virtual machine: its tree, with drivers, and all times of one past."""

import os
import stat
from pathlib import Path

from images.boot import Boot
from images.drivers import Drivers
from images.layer import directory, linked, remove
from images.modules import PLACE as MODULES

# Names of hardware that no hypervisor shows.
_UNUSED = ("usr/lib/udev/hwdb.d", "usr/lib/udev/hwdb.bin")
# What an installation leaves for the next, and logs of it. And what depends on where it was made: /dev has
# more in it if root built, apt's directories are root's where its own user can't reach the cache.
_LEFT = (
    "dev/*",
    "var/cache/apt/*",
    "var/cache/debconf",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/status-old",
    "var/log/*",
)
_LEFT_SUFFIXES = ("passwd-", "group-", "shadow-", "gshadow-")


def stage(boot: Boot, drivers: Drivers, *, tree: Path, target: Path) -> None:
    """Make `target` the root file system of a machine that runs `tree`."""
    stage_container(tree, target)
    remove(target / MODULES)
    linked(drivers.tree / MODULES, target / MODULES)
    for unused in _UNUSED:
        remove(target / unused)
    record(boot, target)


def stage_container(tree: Path, target: Path) -> None:
    """Make `target` what is shipped of `tree`."""
    linked(tree, target)
    for left in (*_LEFT, *(f"etc/{name}" for name in _LEFT_SUFFIXES)):
        for path in target.glob(left):
            remove(path)
    _undated(target / "etc/shadow")
    directory(target / "var/lib/sysvm")


def _undated(shadow: Path) -> None:
    """Leave out the day of each password's last change, which is the build's; shadow(5)."""
    if not shadow.exists():
        return
    status = shadow.stat()
    entries = [line.split(":") for line in shadow.read_text().splitlines()]
    # Another file: the name is a hard link of the tree's.
    shadow.unlink()
    shadow.write_text("".join(":".join([*entry[:2], "", *entry[3:]]) + "\n" for entry in entries))
    os.chown(shadow, status.st_uid, status.st_gid)
    shadow.chmod(stat.S_IMODE(status.st_mode))


def record(boot: Boot, target: Path) -> None:
    """Tell dpkg of what is on the EFI system partition, so that it lists all that the machine runs."""
    status = target / "var/lib/dpkg/status"
    text = status.read_text()
    for control in boot.controls().values():
        package, rest = control.split("\n", 1)
        text += f"{package}\nStatus: install ok installed\n{rest.rstrip()}\n\n"
    # Another file: the name is a hard link of the tree's.
    status.unlink()
    status.write_text(text)
    status.chmod(0o644)


def newest(tree: Path) -> int:
    """The time of the newest file that a package brought to /usr: later ones are of the build."""
    times = [0.0]
    for contents in (tree / "var/lib/dpkg/info").glob("*.list"):
        for line in contents.read_text().splitlines():
            if line.startswith("/usr/"):
                path = tree / line[1:]
                if path.is_file() and not path.is_symlink():
                    times.append(path.stat().st_mtime)
    return int(max(times))


def clamp(target: Path, *, epoch: int) -> None:
    """Make nothing newer than `epoch`, seconds since 1970."""
    for place, names, leaves in os.walk(target):
        for name in (*names, *leaves, "."):
            path = Path(place) / name
            status = path.lstat()
            if status.st_mtime > epoch or stat.S_ISDIR(status.st_mode):
                os.utime(path, (epoch, epoch), follow_symlinks=False)
