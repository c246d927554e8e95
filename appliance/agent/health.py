"""Run the probes of the running document in turn, and remember how each went last."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from appliance.checks import Check

log = logging.getLogger(__name__)
_INTERVAL = 15.0


@dataclass(frozen=True)
class Result:
    name: str
    ok: bool
    detail: str
    seconds: float
    at: float
    """Seconds since the epoch."""


class Health:
    """Results by the check's name; a check of an older document is forgotten with it."""

    def __init__(self, checks: Callable[[], list[Check]]) -> None:
        self._checks = checks
        self._lock = threading.Lock()
        self._results: dict[str, Result] = {}

    def watch(self) -> None:
        """Forever, every 15 s. Not at once: at boot the API comes first, and whoever asks it for results
        sooner gets those of right then."""
        while True:
            time.sleep(_INTERVAL)
            try:
                self.refresh()
            except Exception:
                log.exception("Health checks failed to run")

    def refresh(self) -> list[Result]:
        checks = self._checks()
        with ThreadPoolExecutor(max_workers=8) as pool:
            results = list(pool.map(_run, checks))
        with self._lock:
            before, self._results = self._results, {result.name: result for result in results}
        for result in results:
            if not result.ok and (result.name not in before or before[result.name].ok):
                log.warning("Health check %s failed: %s", result.name, result.detail)
        return results

    def results(self) -> list[Result]:
        """The last results; of a document that was never probed, results of right now."""
        with self._lock:
            known = list(self._results.values())
        names = {check.name for check in self._checks()}
        return known if {result.name for result in known} == names else self.refresh()


def _run(check: Check) -> Result:
    # With the first check, not before the API: what probes speak takes a tenth of what an agent imports.
    from appliance.agent import probe

    started = time.monotonic()
    try:
        probe.run(check)
        ok, detail = True, "ok"
    except (probe.ProbeError, OSError) as error:
        ok, detail = False, str(error)
    seconds = time.monotonic() - started
    return Result(name=check.name, ok=ok, detail=detail, seconds=round(seconds, 6), at=time.time())
