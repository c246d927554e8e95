"""What a router's virtual machine takes of memory."""

import tempfile
import time
from pathlib import Path

from tests.bench import machine
from tests.bench.benchmark import Say, table

TITLE = "Memory of a virtual machine"
_SIZE = 50
_SETTLED = 90.0
"""Seconds after it answers: its health was probed and drift was looked for, several times."""


def run(say: Say) -> str:
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as place:
        router = machine.configured(Path(place), say, size=_SIZE)
        try:
            machine.start(router)
            router.wait_until_it_answers()
            say("waiting until it is idle")
            time.sleep(_SETTLED)
            found = meminfo(router.run("cat", "/proc/meminfo"))
        finally:
            router.cut_power()
    cache = found["Buffers"] + found["Cached"] + found["SReclaimable"] - found["Shmem"]
    rows = [
        ["in use, without the page cache", f"{(found['MemTotal'] - found['MemFree'] - cache) / 1024:.0f}"],
        ["of it processes' own (AnonPages)", f"{found['AnonPages'] / 1024:.0f}"],
        ["of it the kernel's (Slab, stacks, page tables)", f"{kernel(found) / 1024:.0f}"],
        ["of it files in memory (Shmem)", f"{found['Shmem'] / 1024:.0f}"],
        ["page cache, which the kernel gives back", f"{cache / 1024:.0f}"],
        ["all that the kernel has to give (MemTotal)", f"{found['MemTotal'] / 1024:.0f}"],
    ]
    text = (
        f"A machine of 512 MB, idle for {_SETTLED:.0f} s, with {_SIZE} of each in its document: "
        "/proc/meminfo as QEMU's guest agent reads it. In use is MemTotal - MemFree - page cache (Buffers, "
        "Cached and SReclaimable, without Shmem)."
    )
    return "\n\n".join([text, table(["", "MiB"], rows)])


def meminfo(text: str) -> dict[str, int]:
    """KiB; see proc(5)."""
    lines = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines}


def kernel(found: dict[str, int]) -> int:
    return found["SUnreclaim"] + found["KernelStack"] + found["PageTables"] + found["Percpu"]
