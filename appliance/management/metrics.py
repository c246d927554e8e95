"""What the push loop has done, as Prometheus reads it (text format 0.0.4)."""

import threading
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from appliance.management.inventory import Appliance, State

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the push histogram, in seconds."""
OUTCOMES = ("converged", "degraded", "refused", "conflict", "failed", "unreachable")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pushes = dict.fromkeys(OUTCOMES, 0)
        self._buckets = [0] * len(BUCKETS)
        self._seconds = 0.0
        self._polls = 0

    def pushed(self, outcome: str, seconds: float) -> None:
        with self._lock:
            self._pushes[outcome] = self._pushes.get(outcome, 0) + 1
            self._seconds += seconds
            for index, bound in enumerate(BUCKETS):
                self._buckets[index] += seconds <= bound

    def polled(self) -> None:
        with self._lock:
            self._polls += 1

    def text(
        self,
        *,
        states: Mapping[State, int],
        appliances: list[Appliance],
        pairs: Mapping[str, tuple[str, bool]] = MappingProxyType({}),
    ) -> str:
        lines = [*self._lines(states, appliances), *_pair_lines(pairs)]
        return "\n".join(lines) + "\n"

    def _lines(self, states: Mapping[State, int], appliances: list[Appliance]) -> Iterator[str]:
        with self._lock:
            pushes, buckets = dict(self._pushes), list(self._buckets)
            seconds, polls = self._seconds, self._polls
        yield "# HELP sysvm_appliances Appliances by the state they are in."
        yield "# TYPE sysvm_appliances gauge"
        for state, count in states.items():
            yield f'sysvm_appliances{{state="{state}"}} {count}'
        yield "# HELP sysvm_pushes_total Documents pushed, by what came of it."
        yield "# TYPE sysvm_pushes_total counter"
        for outcome, count in pushes.items():
            yield f'sysvm_pushes_total{{outcome="{outcome}"}} {count}'
        yield "# HELP sysvm_push_seconds From the start of a push to its answer."
        yield "# TYPE sysvm_push_seconds histogram"
        for bound, count in zip(BUCKETS, buckets, strict=True):
            yield f'sysvm_push_seconds_bucket{{le="{bound}"}} {count}'
        total = sum(pushes.values())
        yield f'sysvm_push_seconds_bucket{{le="+Inf"}} {total}'
        yield f"sysvm_push_seconds_sum {seconds:.6f}"
        yield f"sysvm_push_seconds_count {total}"
        yield "# HELP sysvm_polls_total Looks at the status of appliances."
        yield "# TYPE sysvm_polls_total counter"
        yield f"sysvm_polls_total {polls}"
        yield "# HELP sysvm_appliance_generation Generations of the document, wanted and reported."
        yield "# TYPE sysvm_appliance_generation gauge"
        for appliance in appliances:
            name = f'appliance="{appliance.name}"'
            yield f'sysvm_appliance_generation{{{name},of="wanted"}} {appliance.wanted}'
            yield f'sysvm_appliance_generation{{{name},of="reported"}} {appliance.reported or 0}'
        yield "# HELP sysvm_appliance_certificate_expiry_timestamp_seconds When its certificate ends."
        yield "# TYPE sysvm_appliance_certificate_expiry_timestamp_seconds gauge"
        for appliance in appliances:
            if appliance.certificate_expires is not None:
                expiry = f"{appliance.certificate_expires:.0f}"
                yield (
                    "sysvm_appliance_certificate_expiry_timestamp_seconds"
                    f'{{appliance="{appliance.name}"}} {expiry}'
                )


def _pair_lines(pairs: Mapping[str, tuple[str, bool]]) -> Iterator[str]:
    yield "# HELP sysvm_redundancy_state 1 for the state of an appliance of a redundant pair."
    yield "# TYPE sysvm_redundancy_state gauge"
    for name, (state, _) in pairs.items():
        yield f'sysvm_redundancy_state{{appliance="{name}",state="{state}"}} 1'
    yield "# HELP sysvm_redundancy_split_brain 1 if an appliance and its peer are both primary."
    yield "# TYPE sysvm_redundancy_split_brain gauge"
    for name, (_, split) in pairs.items():
        yield f'sysvm_redundancy_split_brain{{appliance="{name}"}} {int(split)}'
