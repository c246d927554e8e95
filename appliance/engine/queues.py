"""Observe and change which processors work on a link's received packets.

A card with one queue interrupts one processor, and all that is forwarded from it would be that one's work.
Where a card has a queue for each processor, its hardware does the spreading. A container's cards are its
host's matter: there these files can't be written.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import ReceiveQueues

KIND = "ReceiveQueues"
_TREE = Path("/sys/class/net")


def plan(wanted: Sequence[ReceiveQueues], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    processors = os.cpu_count() or 1
    if processors == 1 or not wanted:
        return
    # By the name that a link has now; one that is yet to be named is looked at again behind that.
    present = {link["name"] for link in host.links().values()}
    for link in wanted:
        files = sorted((_TREE / link.link / "queues").glob("rx-*/rps_cpus")) if link.link in present else []
        mask = (1 << processors) - 1 if len(files) < processors else 0
        differing = [path for path in files if _mask(path) != mask and os.access(path, os.W_OK)]
        if differing:
            yield Change(
                kind=KIND,
                name=link.link,
                action="update",
                detail=f"spread over {processors} processors" if mask else "by the card's own queues",
                run=lambda differing=differing, mask=mask: _write(differing, mask),  # type: ignore[misc]
            )


def _mask(path: Path) -> int:
    return int(path.read_text().replace(",", ""), 16)


def _write(paths: Sequence[Path], mask: int) -> None:
    for path in paths:
        path.write_text(_text(mask))


def _text(mask: int) -> str:
    """As cpumask_parse has it: groups of 32 bits, with commas between."""
    groups = [f"{mask & 0xFFFFFFFF:x}"]
    while mask := mask >> 32:
        groups.append(f"{mask & 0xFFFFFFFF:x}")
    head, *rest = reversed(groups)
    return ",".join([head, *(group.zfill(8) for group in rest)])
