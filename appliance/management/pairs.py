"""Redundant pairs: the backup is pushed before the primary, and two primaries are noticed.

Which is which is what the appliances themselves say (`redundancy` of their status), never what was before.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from appliance.management.client import Agent, AgentError, Status
from appliance.management.inventory import (
    Appliance,
    Inventory,
    Revision,
    UnknownApplianceError,
    UnknownGenerationError,
)

GRACE = 1.0
"""Seconds for which a primary's new document waits for its peer's to come, too: two documents can't be put
at the same moment."""
DELAY = 0.2
"""Seconds until a primary that waits is looked at again."""

log = logging.getLogger("sysvm.management")


class Pairs:
    def __init__(
        self,
        inventory: Inventory,
        connect: Callable[[Appliance], Agent],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._inventory = inventory
        self._connect = connect
        self._now = now
        self._lock = threading.Lock()
        self._states: dict[str, str] = {}
        self._split: set[str] = set()

    def waits(self, appliance: Appliance, revision: Revision, agent: Agent) -> str | None:
        """The name of the backup that has to be pushed before this primary; None where it needn't wait. A
        peer that fails holds up nobody."""
        found = self._peer(appliance, revision)
        if found is None:
            return None
        peer, its_revision = found
        # Put since our last one, it is what goes with this one.
        fresh = its_revision.created > self._created_before(appliance, revision)
        due = peer.state == "pending" and peer.attempts == 0
        if not due and (fresh or self._now() - revision.created > GRACE):
            return None
        return peer.name if _state(agent.status()) == "primary" else None

    def heard(self, appliance: Appliance, status: Status) -> None:
        """An appliance was asked how it is. If it is the primary and its peer was, too, that one is asked
        anew: the two may have changed places since."""
        state = _state(status)
        with self._lock:
            if state is None:
                self._states.pop(appliance.name, None)
                self._split.discard(appliance.name)
                return
            self._states[appliance.name] = state
        revision = self._inventory.document(appliance.name)
        found = self._peer(appliance, revision) if revision is not None else None
        if found is None:
            return
        peer = found[0]
        split = state == "primary" and self._states.get(peer.name) == "primary" and self._is_primary(peer)
        with self._lock:
            for name in (appliance.name, peer.name):
                if split and name not in self._split:
                    log.error("%s: split brain, both of its pair are primary", name)
                (self._split.add if split else self._split.discard)(name)

    def members(self, appliance: Appliance) -> list[Appliance]:
        """The appliance, and the other one of its pair if it is of one."""
        revision = self._inventory.document(appliance.name)
        found = self._peer(appliance, revision) if revision is not None else None
        return [appliance] if found is None else [appliance, found[0]]

    def states(self) -> dict[str, tuple[str, bool]]:
        """By appliance: its state when it was last asked, and whether its peer was primary along with it."""
        with self._lock:
            return {name: (state, name in self._split) for name, state in sorted(self._states.items())}

    def _created_before(self, appliance: Appliance, revision: Revision) -> float:
        """When the document before this one was put; 0 where there was none."""
        older = [
            number for number in self._inventory.generations(appliance.name) if number < revision.generation
        ]
        try:
            before = self._inventory.document(appliance.name, generation=older[0]) if older else None
        except UnknownGenerationError:
            before = None
        return before.created if before is not None else 0.0

    def _is_primary(self, peer: Appliance) -> bool:
        try:
            with self._connect(peer) as agent:
                return _state(agent.status()) == "primary"
        except AgentError:
            # It can't be asked, so it is taken at its last word.
            return True

    def _peer(self, appliance: Appliance, revision: Revision) -> tuple[Appliance, Revision] | None:
        name = peer_name(revision.text)
        if name is None:
            return None
        try:
            peer = self._inventory.appliance(name)
            its_revision = self._inventory.document(name)
        except (UnknownApplianceError, UnknownGenerationError):
            return None
        if its_revision is None or peer_name(its_revision.text) != appliance.name:
            return None
        return peer, its_revision


def peer_name(document: str) -> str | None:
    """The other appliance of a pair, as a document (JSON) names it."""
    section = json.loads(document).get("redundancy")
    name: Any = section.get("peer") if isinstance(section, dict) else None
    return name if isinstance(name, str) else None


def _state(status: Status) -> str | None:
    section = status.answer.get("redundancy")
    state = section.get("state") if isinstance(section, dict) else None
    return state if isinstance(state, str) else None
