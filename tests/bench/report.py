"""docs/benchmarks.md: a section for each benchmark, each with the machine that it was seen on."""

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path

PATH = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_HEAD = """# Benchmarks

Written by `make bench`; `make bench ARGS=NAME` measures one section anew. Figures of different sections may
come from different runs; those of one section, and so its ratios, come from one. The machines are small and
virtual: what else runs on their hosts only ever makes a figure worse.

## What is aimed at, and what is reached

| aim | reached | why not, or by what |
|---|---|---|
| 10,000 of all four applied and verified in under 2 s | yes: about 1 s | one nft transaction, files of records, nothing per item |
| one item more beside them in under 50 ms | see "one kind beside all four" below | what a patch doesn't touch is shared and passed over; the rest is seeing that |
| no process per item | yes: none for a patch, three for a reload of dnsmasq | systemd and the kernel are asked over sockets |
| flat from 10 to 1,000 | one more: yes; a whole document: 10,000 cost what its JSON and its elements cost | |
| container boot to configured and answering in under 1.5 s | at it, above or below by what else the machine does | two thirds are imports and models of the agent |
| agent under 60 MB | 51 MB of its own share (PSS), 60 to 64 MB counting shared pages (RSS) | pydantic 13, asyncio with TLS 11, Flask 8 |
| metadata: 20,000 requests/s per core | yes: over 40,000 | |

DHCP is dnsmasq's own speed: it collapses beyond a few hundred exchanges a second with 10,000 reservations, bare or
in our router alike.

The system this replaces was measured on a machine like this, with its own scripts and its daemons' restarts left out:

| | 1,000 at once | one more beside 1,000 |
|---|---:|---:|
| port forwards | 24 s | 19 s |
| firewall rules | 4 s | 28 s |
| DHCP entries | 48 s | |
| guests' metadata | 65 s | |

Its best rewrite, with iptables-restore: 0.7 s and 0.9 s at 1,000 port forwards, 10 s and 18 s at 5,000. The kernel's
own limit: 113 ms for a map of 10,000 elements, 45 µs for one more.
"""


def write(name: str, title: str, text: str, *, tree: Path) -> None:
    """Replace one section, or add it."""
    sections = _sections()
    sections[name] = f"## {title}\n\n{text.strip()}\n\n{_machine(tree)}\n"
    parts = [f"<!-- {name} -->\n{section}" for name, section in sorted(sections.items())]
    PATH.write_text("\n".join([_HEAD, *parts]))


def _sections() -> dict[str, str]:
    text = PATH.read_text() if PATH.exists() else ""
    pieces = re.split(r"^<!-- ([a-z]+) -->\n", text, flags=re.MULTILINE)
    return {
        name: section.rstrip("\n") + "\n" for name, section in zip(pieces[1::2], pieces[2::2], strict=True)
    }


def _machine(tree: Path) -> str:
    cpu = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(
        _version(tree, *command)
        for command in (("nft", "--version"), ("dnsmasq", "--version"), ("python3", "--version"))
    )
    return (
        f"Seen on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}: {cpu}, {os.cpu_count()} cores, "
        f"{memory:.0f} GiB, Linux {platform.release()}; in the router: {versions}."
    )


def _version(tree: Path, *command: str) -> str:
    output = subprocess.run(["chroot", tree, *command], capture_output=True, text=True, check=True).stdout
    found = re.match(r"(?P<name>\w+)(?: version)? v?(?P<number>[0-9.]+)", output)
    return f"{found['name']} {found['number']}" if found else output.splitlines()[0]
