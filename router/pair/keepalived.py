"""What keepalived says of itself: its notify FIFO tells of a change, its JSON dump answers a question.
keepalived(8), keepalived.conf(5)."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

State = Literal["primary", "backup", "fault", "unknown"]
_NUMBERS: dict[int, State] = {1: "backup", 2: "primary", 3: "fault"}
_WORDS: dict[str, State] = {
    "MASTER": "primary", "BACKUP": "backup", "FAULT": "fault", "STOP": "unknown", "DELETED": "unknown",
}  # fmt: skip
_ANSWER_SECONDS = 1.0


class SilentError(Exception):
    """keepalived doesn't run, or doesn't answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Vrrp:
    state: State
    priority: int
    """The effective one."""
    since: float
    """Seconds since the epoch."""
    became_primary: int
    """Times, since keepalived started."""
    adverts_received: int


def ask(directory: Path) -> Vrrp:
    """The state, from a dump made for this question. Raises SilentError."""
    dump = directory / "keepalived.json"
    try:
        process = int((directory / "keepalived.pid").read_text())
        before = dump.stat().st_mtime_ns if dump.exists() else 0
        os.kill(process, _signal())
    except (OSError, ValueError) as error:
        raise SilentError(f"keepalived doesn't run: {error}") from None
    deadline = time.monotonic() + _ANSWER_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.005)
        try:
            if dump.stat().st_mtime_ns != before:
                return _vrrp(json.loads(dump.read_bytes()))
        except (OSError, ValueError, KeyError, IndexError):
            continue  # it is still being written
    raise SilentError("keepalived doesn't answer")


def _vrrp(value: dict[str, list[dict[str, dict[str, float]]]]) -> Vrrp:
    instance = value["vrrp"][0]
    data, statistics = instance["data"], instance["stats"]
    return Vrrp(
        state=_NUMBERS.get(int(data["state"]), "unknown"),
        priority=int(data["effective_priority"]),
        since=float(data["last_transition"]),
        became_primary=int(statistics["become_master"]),
        adverts_received=int(statistics["advert_rcvd"]),
    )


def news(fifo: Path) -> Iterator[State]:
    """Each change of state, as soon as it is. Blocks; never ends."""
    if not fifo.exists():
        os.mkfifo(fifo, 0o600)
    # For writing, too: so it never ends, whoever comes and goes at its other end.
    with os.fdopen(os.open(fifo, os.O_RDWR), "rb", buffering=0) as lines:
        rest = b""
        while True:
            rest += lines.read(4096)
            *whole, rest = rest.split(b"\n")
            for line in whole:
                words = line.decode(errors="replace").split()
                if len(words) >= 3 and words[0] == "INSTANCE" and words[2] in _WORDS:
                    yield _WORDS[words[2]]


@cache
def _signal() -> int:
    said = subprocess.run(
        ["keepalived", "--signum=JSON"], capture_output=True, text=True, check=False
    ).stdout
    return int(said) if said.strip().isdigit() else signal.SIGRTMIN + 2
