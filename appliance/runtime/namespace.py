"""Network namespaces with names, as ip-netns(8) knows them."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pyroute2 import NetNS

DIRECTORY = Path("/run/netns")


def create(name: str) -> None:
    """Make a namespace with its loopback up."""
    # It ends with us: a child that outlived us could still make what was cleared meanwhile.
    subprocess.run(["setpriv", "--pdeathsig", "KILL", "ip", "netns", "add", name], check=True)
    with opened(name) as links:
        links.link("set", index=1, state="up")


def exists(name: str) -> bool:
    return os.path.ismount(DIRECTORY / name)


def delete(name: str) -> None:
    """Take a namespace's name away; the kernel removes it and its links with the last process in it."""
    place = DIRECTORY / name
    # Mounted twice if two made it at once; not mounted if its maker was killed in between.
    while os.path.ismount(place):
        subprocess.run(["umount", "--lazy", place], check=True)
    place.unlink(missing_ok=True)


def names(prefix: str) -> list[str]:
    """The namespaces whose names begin so, sorted."""
    return sorted(place.name for place in DIRECTORY.glob(f"{prefix}*"))


@contextmanager
def opened(name: str) -> Iterator[NetNS]:
    """The namespace's rtnetlink."""
    links = NetNS(name, flags=0)
    try:
        yield links
    finally:
        links.close()


def entering(name: str, argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` in the namespace."""
    return ["nsenter", f"--net={DIRECTORY / name}", "--", *argv]


def run(
    name: str,
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    timeout: float | None = 60.0,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command in the namespace; otherwise it sees the host. Raises as subprocess.run does."""
    # fmt: off
    return subprocess.run(
        entering(name, argv), input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True, text=True, errors="replace", timeout=timeout, check=check,
    )
    # fmt: on


def sysctl(name: str, settings: Mapping[str, str]) -> None:
    """Write settings below /proc/sys/net as the namespace has them."""
    words = [f"{path.replace('/', '.')}={value}" for path, value in settings.items()]
    run(name, ["sysctl", "--quiet", "--write", *words], check=True)


def inhabitants(name: str) -> list[int]:
    """The processes in the namespace, whoever started them."""
    try:
        identity = (DIRECTORY / name).stat()
    except FileNotFoundError:
        return []
    found = []
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            seen = link.stat()
        except OSError:
            continue  # It ended meanwhile.
        if (seen.st_dev, seen.st_ino) == (identity.st_dev, identity.st_ino):
            found.append(int(link.parts[2]))
    return found
