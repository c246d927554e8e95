"""What the service tells the agent: a small file of counters, and readiness to systemd."""

import json
import os
import socket
from collections import Counter
from collections.abc import Mapping
from pathlib import Path


def summary(counts: Counter[str]) -> Mapping[str, object]:
    """Counters as they are published. `counts` has "KIND STATUS" for answers and "refused WHY"."""
    kinds: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for name, number in counts.items():
        first, second = name.split(" ")
        if first == "refused":
            refused[second] += number
        else:
            kinds[first] += number
            statuses[second] += number
    return {
        "requests": kinds.total(),
        "refused": refused.total(),
        "requests_by_kind": dict(sorted(kinds.items())),
        "requests_by_status": dict(sorted(statuses.items())),
        "refused_by_reason": dict(sorted(refused.items())),
    }


def write(path: Path, value: Mapping[str, object]) -> None:
    """Replace a status file; readers see the old or the new one. Raises OSError."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(value) + "\n")
    new.replace(path)


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)), if it is there and listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
        notifier.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
