"""The push loop: it makes every appliance run the document that is wanted of it.

Level-triggered: what is to be done follows from what is wanted and what the appliance last said, never
from having seen an event. Whatever has to outlive this process is in the inventory.
"""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from appliance.management import pairs, schedule
from appliance.management.client import (
    Agent,
    AgentError,
    ConflictError,
    RefusedByAgentError,
    Report,
    Status,
    UnreachableError,
)
from appliance.management.inventory import Appliance, Contact, Inventory, State
from appliance.management.metrics import Metrics

CONTACTS = 32
"""Contacts at once."""
PATIENCE = 5.0
"""Seconds after which a contact stops counting as one of them: appliances that hang, or have much to do,
mustn't keep the others waiting."""
THREADS = 1024
"""All contacts, the slow ones too: what bounds memory when very many appliances hang."""
DATABASE_DELAY = 2.0
"""Seconds before a database that failed is tried again."""

log = logging.getLogger("sysvm.management")


class Pusher:
    def __init__(
        self,
        inventory: Inventory,
        connect: Callable[[Appliance], Agent],
        *,
        metrics: Metrics | None = None,
        poll_interval: float = schedule.POLL_INTERVAL,
        contacts: int = CONTACTS,
        patience: float = PATIENCE,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.metrics = metrics or Metrics()
        self._inventory = inventory
        self._connect = connect
        self._poll_interval = poll_interval
        self._contacts = contacts
        self._patience = patience
        self._now = now
        self.pairs = pairs.Pairs(inventory, connect, now=now)
        self._changed = threading.Condition()
        self._rung = True
        self._stopping = False
        self._active: dict[int, float] = {}
        self._news: Counter[int] = Counter()
        self._thread = threading.Thread(target=self._run, name="pusher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, grace: float = 3.0) -> None:
        """Begin no more contacts, and give those under way `grace` seconds. Cutting one off is safe."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._active, grace)
        if self._thread.is_alive():
            self._thread.join(grace)

    def wake(self, appliance: Appliance) -> None:
        """Something about this appliance has changed in the inventory: look now."""
        with self._changed:
            self._rung = True
            self._news[appliance.id] += 1
            self._changed.notify_all()

    def wait(self, name: str, *, digest: str, timeout: float) -> Appliance:
        """The appliance once it runs the document with this digest, has refused it, is wanted to run
        another, or `timeout` seconds are over; its state says which. Raises UnknownApplianceError when
        it is deleted."""
        deadline = time.monotonic() + timeout
        number = self._inventory.appliance(name).id
        while True:
            with self._changed:
                seen = self._news[number]
            appliance = self._inventory.appliance(name)
            settled = appliance.state == "refused" or is_converged(appliance)
            if settled or appliance.wanted_digest != digest:
                return appliance
            with self._changed:
                while self._news[number] == seen:
                    left = deadline - time.monotonic()
                    if left <= 0 or self._stopping:
                        return appliance
                    self._changed.wait(left)

    def _run(self) -> None:
        timeout: float | None = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._rung or self._stopping, timeout)
                if self._stopping:
                    return
                self._rung = False
            try:
                timeout = self._begin_contacts()
            except SQLAlchemyError as error:
                log.error("The inventory can't be read: %s", error)
                timeout = DATABASE_DELAY

    def _begin_contacts(self) -> float | None:
        """Begin what is due, and return the seconds until the next is (None: nothing is known of)."""
        now = self._now()
        with self._changed:
            moment = time.monotonic()
            ages = [moment - started for started in self._active.values()]
            active = list(self._active)
        quick = [age for age in ages if age < self._patience]
        room = min(self._contacts - len(quick), THREADS - len(active))
        # One more than there is room for tells whether somebody has to wait.
        due = self._inventory.due(before=now, most=max(room, 0) + 1, but=active)
        with self._changed:
            for appliance in due[: max(room, 0)]:
                self._active[appliance.id] = moment
                name = f"contact-{appliance.name}"
                threading.Thread(target=self._contact, args=(appliance,), name=name, daemon=True).start()
        if len(due) > max(room, 0):
            # Until a contact ends, which rings, or the oldest of the quick ones turns out not to be one.
            return self._patience - max(quick, default=0.0)
        next_due = self._inventory.next_due(after=now)
        return None if next_due is None else max(0.0, next_due - now)

    def _contact(self, appliance: Appliance) -> None:
        try:
            contact = self._outcome(appliance)
            self._inventory.record(appliance, contact)
            if contact.state != appliance.state or contact.error != appliance.last_error:
                level = logging.INFO if contact.error is None else logging.WARNING
                log.log(level, "%s: %s%s", appliance.name, contact.state,
                        f", {contact.error}" if contact.error else f" at {contact.reported}")  # fmt: skip
        except SQLAlchemyError as error:
            log.error("%s: what came of a contact can't be kept: %s", appliance.name, error)
            time.sleep(DATABASE_DELAY)
        finally:
            with self._changed:
                del self._active[appliance.id]
                self._rung = True
                self._news[appliance.id] += 1
                self._changed.notify_all()

    def _outcome(self, appliance: Appliance) -> Contact:
        try:
            with self._connect(appliance) as agent:
                if schedule.errand(appliance) == "push":
                    return self._push(appliance, agent)
                status = agent.status()
                self.metrics.polled()
                self.pairs.heard(appliance, status)
                match schedule.finding(appliance, status):
                    case "behind":
                        log.info("%s: %s at %d", appliance.name, status.state, status.generation)
                        return self._push(appliance, agent)
                    case "ahead":
                        return self._adopt(appliance, status)
                    case "right":
                        return self._right(appliance, status)
        except UnreachableError as error:
            return self._again(appliance, "unreachable", str(error), answered=False)
        except AgentError as error:
            return self._again(appliance, "failed", str(error))
        except SQLAlchemyError:
            raise
        except Exception as error:
            # Whatever is wrong here with one appliance, the others have nothing to do with it.
            log.exception("%s: contact failed", appliance.name)
            return self._again(appliance, "failed", f"{type(error).__name__}: {error}", answered=False)

    def _push(self, appliance: Appliance, agent: Agent) -> Contact:
        revision = self._inventory.document(appliance.name)
        if revision is None or revision.generation != appliance.wanted:
            # It changed after this contact began; the next one is due already.
            return self._again(appliance, "pending", None, answered=False)
        if backup := self.pairs.waits(appliance, revision, agent):
            return Contact(
                state="pending",
                answered=True,
                reported=appliance.reported,
                error=f"It is a primary, and waits for its backup {backup} to be pushed.",
                attempts=appliance.attempts,
                delay=pairs.DELAY,
            )
        started = time.monotonic()
        outcome = "failed"
        try:
            report = agent.put(revision.text)
            contact = self._reported(appliance, report)
            outcome = contact.state
        except ConflictError:
            outcome = "conflict"
            contact = self._adopt(appliance, agent.status())
        except RefusedByAgentError as error:
            outcome = "refused"
            contact = self._refused(appliance, agent, error)
        except UnreachableError:
            outcome = "unreachable"
            raise
        finally:
            self.metrics.pushed(outcome, time.monotonic() - started)
        return contact

    def _reported(self, appliance: Appliance, report: Report) -> Contact:
        right = report.generation == appliance.wanted and report.state == "converged"
        if right:
            return Contact(
                state="converged",
                answered=True,
                reported=report.generation,
                reported_digest=report.digest,
                delay=schedule.poll_delay(self._poll_interval, _chance()),
            )
        detail = report.detail or f"It reports generation {report.generation} as {report.state}."
        return self._again(appliance, "degraded", detail, reported=report.generation)

    def _refused(self, appliance: Appliance, agent: Agent, error: RefusedByAgentError) -> Contact:
        try:
            reported: int | None = agent.status().generation
        except AgentError:
            reported = appliance.reported
        return Contact(
            state="refused",
            answered=True,
            reported=reported,
            error=str(error),
            problems=error.problems,
            delay=schedule.poll_delay(self._poll_interval, _chance()),
        )

    def _right(self, appliance: Appliance, status: Status) -> Contact:
        refused = appliance.state == "refused"
        unwanted = appliance.wanted == 0
        state: State = "refused" if refused else "converged"
        if unwanted:
            state = "empty" if status.generation == 0 else "pending"
        return Contact(
            state=state,
            answered=True,
            reported=status.generation,
            reported_digest=status.digest,
            error=appliance.last_error if refused else None,
            problems=appliance.problems if refused else (),
            delay=schedule.poll_delay(self._poll_interval, _chance()),
        )

    def _adopt(self, appliance: Appliance, status: Status) -> Contact:
        # At once the first time; an agent that never has enough of it is waited for as for any failure.
        attempts = appliance.attempts + 1
        delay = 0.0 if appliance.attempts == 0 else schedule.back_off(attempts, _chance())
        self._inventory.adopt(appliance, above=status.generation, attempts=attempts, delay=delay)
        detail = f"It has seen generation {status.generation}; {appliance.wanted} was wanted."
        return self._again(appliance, "pending", detail, reported=status.generation)

    def _again(
        self, appliance: Appliance, state: State, error: str | None, *, answered: bool = True,
        reported: int | None = None,
    ) -> Contact:  # fmt: skip
        attempts = appliance.attempts + 1
        return Contact(
            state=state,
            answered=answered,
            reported=reported,
            error=error,
            attempts=attempts,
            delay=schedule.back_off(attempts, _chance()),
        )


def is_converged(appliance: Appliance) -> bool:
    """It runs what is wanted, by its own last word."""
    return appliance.state == "converged" and appliance.reported == appliance.wanted


def _chance() -> float:
    return random.random()  # noqa: S311, nobody gains by guessing when an appliance is tried again
