"""docs/benchmarks.md: a section for each benchmark, each with the machine that it was seen on."""

import datetime
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

PATH = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_HEAD = (Path(__file__).parent / "head.md").read_text()


def write(name: str, title: str, text: str, *, tree: Path) -> None:
    """Replace one section, or add it."""
    found = sections(PATH.read_text()) if PATH.exists() else {}
    found[name] = f"## {title}\n\n{text.strip()}\n\n{_machine(tree)}\n"
    PATH.write_text(page(found))


def page(sections: Mapping[str, str]) -> str:
    """All of them, under the head."""
    parts = [f"<!-- {name} -->\n{section}" for name, section in sorted(sections.items())]
    return "\n".join([_HEAD, *parts])


def sections(page: str) -> dict[str, str]:
    """By the names of their benchmarks."""
    pieces = re.split(r"^<!-- (\w+) -->\n", page, flags=re.MULTILINE)
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
