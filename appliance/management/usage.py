"""Traffic totals of a document: those of its appliance, and of a redundant pair both routers' together, for
each counts what it has carried.

What was told once is never taken back. So the last totals of each of a pair are kept: one that can't be
asked counts with these, and one that was built anew, and counts from 0 again, on top of them.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import delete, select

from appliance.management.client import Agent, AgentError, FailedError
from appliance.management.inventory import Appliance, Inventory
from appliance.management.tables import UsageRow

Totals = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Counter -> sent or received -> bytes or packets."""
_TOTALS: TypeAdapter[Totals] = TypeAdapter(Totals)


class Usage:
    def __init__(self, inventory: Inventory, connect: Callable[[Appliance], Agent]) -> None:
        self._inventory, self._connect = inventory, connect
        self._locks: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)

    def of_pair(self, appliances: Iterable[Appliance]) -> Totals:
        """Of all of them together. Raises AgentError where none of them can be asked."""
        told: list[Totals] = []
        errors: list[AgentError] = []
        for appliance in appliances:
            # An earlier answer that comes later would look like an appliance that counts from 0 again.
            with self._locks[appliance.id]:
                before, base = self._kept(appliance)
                try:
                    if appliance.state == "unreachable":
                        raise AgentError(f"{appliance.name} can't be reached")
                    with self._connect(appliance) as agent:
                        now = _checked(agent.usage())
                    base = added(base, begun_anew(before, now))
                    self._keep(appliance, now, base)
                except AgentError as error:
                    errors.append(error)
                    now = before
                told.append(added(now, base))
        if len(errors) == len(told):
            raise errors[0]
        result: Totals = {}
        for totals in told:
            result = added(result, totals)
        return result

    def _kept(self, appliance: Appliance) -> tuple[Totals, Totals]:
        """What it told last, and what it had counted before it began anew."""
        with self._inventory.reading() as session:
            text = session.scalar(select(UsageRow.text).where(UsageRow.appliance_id == appliance.id))
        if text is None:
            return {}, {}
        value = json.loads(text)
        return value["last"], value["base"]

    def _keep(self, appliance: Appliance, last: Totals, base: Totals) -> None:
        text = json.dumps({"last": last, "base": base})
        with self._inventory.writing() as session:
            session.execute(delete(UsageRow).where(UsageRow.appliance_id == appliance.id))
            session.add(UsageRow(appliance_id=appliance.id, text=text))


def begun_anew(before: Totals, now: Totals) -> Totals:
    """What is missing of what was told before, where there is less now."""
    return {
        name: {
            direction: {
                unit: value
                for unit, value in values.items()
                if now.get(name, {}).get(direction, {}).get(unit, 0) < value
            }
            for direction, values in directions.items()
        }
        for name, directions in before.items()
    }


def added(one: Totals, other: Totals) -> Totals:
    """The sum of two; a counter without any number is left out."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for totals in (one, other):
        for name, directions in totals.items():
            for direction, values in directions.items():
                for unit, value in values.items():
                    sums = found.setdefault(name, {}).setdefault(direction, {})
                    sums[unit] = sums.get(unit, 0) + value
    return found


def _checked(value: Any) -> Totals:
    try:
        return _TOTALS.validate_python(value)
    except ValueError as error:
        raise FailedError(f"It tells traffic totals that are none: {error}", status=200) from None
