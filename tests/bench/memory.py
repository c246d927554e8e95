"""What the agent takes of memory."""

import time
from pathlib import Path

from tests.bench import documents
from tests.bench.benchmark import Say, table
from tests.bench.lab import Lab, laboratory

TITLE = "Memory of the agent"
TYPICAL = 50


def run(say: Say) -> str:
    rows = []
    with laboratory() as lab:
        for what, document in (
            ("booted, no document yet", None),
            (f"{TYPICAL} of each", documents.filled(TYPICAL)),
            ("10,000 of each", documents.filled(10_000)),
            (f"{TYPICAL} of each, after 10,000", documents.filled(TYPICAL)),
        ):
            say(what)
            if document is not None:
                lab.put(document)
                lab.hang_up()
            # Until health checks, and a look for drift, have run as well.
            time.sleep(30)
            rows.append([what, *(f"{value / 1024:.0f}" for value in _memory(lab))])
    return table(["document", "RSS MiB", "PSS MiB", "private MiB"], rows)


def _memory(lab: Lab) -> tuple[int, int, int]:
    """KiB; see proc(5), smaps_rollup."""
    values = {}
    for line in Path(f"/proc/{lab.agent_process()}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        values[name] = int(rest.split()[0])
    return values["Rss"], values["Pss"], values["Private_Clean"] + values["Private_Dirty"]
