"""Traffic totals that only grow: the kernel's counters on top of what was counted before they were made."""

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from appliance import disk
from appliance.engine import counter, wireguard
from appliance.engine.host import Host

log = logging.getLogger(__name__)
Totals = dict[str, dict[str, dict[str, int]]]
"""Counter -> sent or received -> bytes or packets."""
_TOTALS: TypeAdapter[Totals] = TypeAdapter(Totals)


class Usage:
    """`further` counters are asked with what they said before; see `wireguard.read`."""

    def __init__(self, host: Host, path: Path, *further: Callable[[Totals], Totals]) -> None:
        self._host, self._path, self._further = host, path, further
        self._lock, self._saving = threading.Lock(), threading.Lock()
        self._saved: Totals | None = None
        stored = self._load()
        self._totals: Totals = stored.get("totals", {})
        self._seen: Totals = stored.get("seen", {}) if stored.get("boot") == _boot_id() else {}

    def totals(self) -> Totals:
        """Bytes and packets since this appliance's first day. A counter that was removed keeps its total."""
        with self._lock:
            seen = counter.read(self._host) | wireguard.read(self._host, self._seen)
            for read in self._further:
                seen |= read(self._seen)
            for name, directions in seen.items():
                for direction, values in directions.items():
                    for unit, value in values.items():
                        before = self._seen.get(name, {}).get(direction, {}).get(unit, 0)
                        # Less than before: the counter was made anew, and counts from 0.
                        grown = value - before if value >= before else value
                        # Behind a space: by which way the traffic went, or what counted it.
                        of = name.partition(" ")[0]
                        total = self._totals.setdefault(of, {}).setdefault(direction, {})
                        total[unit] = total.get(unit, 0) + grown
            self._seen = seen
            return json.loads(json.dumps(self._totals))  # type: ignore[no-any-return]

    def save(self) -> Totals:
        """Keep the totals over a reboot, and tell them. What was counted since the last time is lost in a
        power cut, but never what somebody was told: so who asks is answered by this."""
        with self._saving:
            totals = self.totals()
            if totals != self._saved:
                try:
                    disk.write_json(self._path, {"boot": _boot_id(), "totals": totals, "seen": self._seen})
                    self._saved = totals
                except OSError as error:
                    log.error("Failed to keep the traffic totals: %s", error)
        return totals

    def _load(self) -> dict[str, Any]:
        try:
            stored = json.loads(self._path.read_bytes())
            return {
                "boot": stored["boot"],
                "totals": _TOTALS.validate_python(stored["totals"]),
                "seen": _TOTALS.validate_python(stored["seen"]),
            }
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError) as error:
            log.error("The traffic totals are damaged and begin anew: %s", error)
            return {}


def _boot_id() -> str:
    """Names this boot of the machine; in a container the kernel's doesn't change, so its first process's
    start time is part of it."""
    kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{kernel} {Path('/proc/1/stat').read_text().rsplit(')', 1)[1].split()[19]}"
