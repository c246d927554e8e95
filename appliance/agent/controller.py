"""One apply at a time: accept a document, converge, verify, keep it, or go back; heal drift."""

import ctypes
import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from appliance import roles
from appliance.agent.cards import Cards
from appliance.agent.seal import Sealer
from appliance.agent.store import Store
from appliance.boot import Boot
from appliance.document import Document
from appliance.engine import checker, transaction
from appliance.engine import plan as planning
from appliance.engine.checker import CheckError
from appliance.engine.host import Host
from appliance.model import Problem, RefusedError, merge_patch
from appliance.resources import Resource
from appliance.services import control

log = logging.getLogger(__name__)

State = Literal["empty", "converged", "unconfirmed", "drifted", "degraded"]
CRASH_AT = "SYSVM_CRASH_AT"
"""Environment: where the agent kills itself, for the test of that: before the step of this number, once the
document is `verified`, or once it is `kept`."""


class GenerationConflictError(Exception):
    """An older generation than the running one, or the same number with other content."""


@dataclass
class Counts:
    """What the metrics tell of the agent's life."""

    applied: int = 0
    refused: int = 0
    failed: int = 0
    healed: int = 0
    last_apply_seconds: float = 0.0


@dataclass
class Report:
    """The answer to a push."""

    generation: int
    state: State
    changes: list[dict[str, str]]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return vars(self)


@dataclass
class Controller:
    boot: Boot
    host: Host
    store: Store
    sealer: Sealer
    running: Document = field(init=False)
    state: State = "empty"
    detail: str = ""
    counts: Counts = field(default_factory=Counts)
    started_at: float = field(default_factory=time.time)
    wanted: tuple[Resource, ...] = ()
    """What the machine was last made to be."""

    def __post_init__(self) -> None:
        self.running = roles.empty(self.boot.role, self.boot.name)
        self._lock = threading.Lock()
        self._confirm_timer: threading.Timer | None = None
        self._before_confirm: Document | None = None
        self._lost = ""
        self._role = roles.role(self.boot.role)

    # --- from boot on -------------------------------------------------------------------------------

    def start(self) -> None:
        """Converge to the stored document, before anybody asks for anything."""
        with self._lock:
            try:
                stored = self.store.load()
                if stored is not None:
                    self.running = roles.read_again(self.boot.role, stored)
            except Exception as error:
                # Better the safe empty state than none: the firewall comes up, and the next push heals.
                # And until that comes it is said.
                self._lost = f"The stored document can't be used: {error}"
                log.error(self._lost)
            self._settle(self.running, fresh=True)

    def watch(self, interval: float) -> None:
        """Forever: find drift and heal it, every `interval` seconds and when a card comes or goes."""
        cards = Cards()
        while True:
            cards.wait(interval)
            try:
                self.heal()
                with self._lock:
                    self.store.compact()
                give_back_memory()
            except Exception:
                log.exception("Watching for drift failed")

    def heal(self) -> int:
        """Compare everything with the kernel and the disk; how many steps it took to be as wanted."""
        with self._lock:
            try:
                wanted = tuple(roles.resources(self.running, self.boot))
                drift = planning.make(wanted, self.host, fresh=True).changes
            except Exception as error:
                self.host.seen.clear()
                self.state, self.detail = "degraded", f"Failed to look for drift: {error}"
                raise
            settled = self.state in ("converged", "unconfirmed", "empty")
            if not drift and (settled or (self._lost and self.detail == self._lost)):
                return 0
            for change in drift:
                log.warning("Drift: %s %s %s %s", change.action, change.kind, change.name, change.detail)
            if self.state in ("converged", "unconfirmed"):
                self.state = "drifted"
            self._settle(self.running, fresh=True)
            self.counts.healed += bool(drift)
            return len(drift)

    def adjust(self) -> None:
        """Make the machine what it is to be by what was learned of its surroundings."""
        with self._lock:
            self._settle(self.running)

    def warnings(self) -> list[dict[str, str]]:
        """What isn't as it should be in the running document, and isn't refused."""
        found = self._role.warnings(self.running)
        return [{"pointer": problem.pointer, "detail": problem.detail} for problem in found]

    # --- pushes -------------------------------------------------------------------------------------

    def put(self, value: Any, *, confirm: float | None = None) -> Report:
        """Make a whole document what runs. Raises RefusedError, GenerationConflictError, CheckError with
        nothing touched; transaction.ConvergeError after going back; OSError where it can't be kept."""
        with self._lock:
            sealed, secrets = self.sealer.seal(value, self._role.SEALED)
            document = self._accept(sealed, known_good=None)
            if confirm is not None:
                return self._apply(document, secrets, keep=lambda: self.store.write(sealed), confirm=confirm)
            self.store.prepare(sealed)
            return self._apply(document, secrets, keep=self.store.commit, confirm=None)

    def patch(self, patch: Any, *, confirm: float | None = None) -> Report:
        """The same with an RFC 7396 merge patch of the running document; without a generation of its own
        it takes the next."""
        with self._lock:
            if not isinstance(patch, dict):
                raise RefusedError([Problem("", "A merge patch of a document must be an object (RFC 7396)")])
            if self.running.generation == 0:
                raise GenerationConflictError("There is no document to patch yet; PUT a whole one first")
            patch = {"generation": self.running.generation + 1, **patch}
            sealed, secrets = self.sealer.seal(patch, self._role.SEALED)
            document = self._accept(merge_patch(self.running, sealed), known_good=self.running)
            # What waits to be confirmed is kept with the patch of it, and not before that has its effect.
            waiting = self._keep if self._confirm_timer is not None else None

            def keep() -> None:
                if waiting is not None:
                    waiting()
                self.store.append(sealed)

            return self._apply(document, secrets, keep=keep, confirm=confirm)

    def plan(self, value: Any) -> list[dict[str, str]]:
        """What `put` would change; changes nothing. Refuses what that would refuse."""
        with self._lock:
            sealed, secrets = self.sealer.seal(value, self._role.SEALED)
            document = self._accept(sealed, known_good=None)
            self.host.secrets = secrets
            try:
                plan = planning.make(roles.resources(document, self.boot), self.host)
                checker.check(plan, self.host)
                return plan.as_json()
            finally:
                self.host.secrets = {}

    def drift(self) -> list[dict[str, str]]:
        """What isn't as the running document has it, looked at anew; heals nothing."""
        with self._lock:
            wanted = tuple(roles.resources(self.running, self.boot))
            return planning.make(wanted, self.host, fresh=True).as_json()

    def confirm(self) -> bool:
        """Keep an unconfirmed document. False where there is none."""
        with self._lock:
            return self._end_confirm(keep=True)

    def _accept(self, value: Any, *, known_good: Document | None) -> Document:
        document = None
        if self._is_for_role(value):
            document = roles.read(self.boot.role, value, known_good, running=self.running)
        if document is None or document.name != self.boot.name:
            name = document.name if document else self.boot.name
            raise RefusedError(
                [
                    Problem("/role", f"This appliance is a {self.boot.role}")
                    if document is None
                    else Problem("/name", f"The document is for {name}; this appliance is {self.boot.name}")
                ]
            )
        if problems := list(control.problems(document, self.boot)):
            raise RefusedError(problems)
        current = self.running.generation
        if document.generation < current:
            raise GenerationConflictError(
                f"Generation {document.generation} is older than {current}, which runs"
            )
        if document.generation == current and document != self.running:
            raise GenerationConflictError(f"Generation {current} runs already, with other content")
        return document

    def _is_for_role(self, value: Any) -> bool:
        """A document that names another role is another role's; one that names none is refused by type."""
        role = value.get("role") if isinstance(value, dict) else None
        return not isinstance(role, str) or role == self.boot.role

    def _apply(
        self,
        document: Document,
        secrets: dict[str, str],
        *,
        keep: Callable[[], None],
        confirm: float | None,
    ) -> Report:
        previous = self._before_confirm or self.running
        self.host.secrets = secrets
        try:
            outcome = self._converge(document)
            if confirm is None:
                _crash_where_told("verified")
                keep()
                _crash_where_told("kept")
        except CheckError:
            self.counts.refused += 1
            self.store.discard()
            raise
        except Exception as error:
            # Whatever it is: half a document must not stay.
            self.counts.failed += 1
            self.host.seen.clear()
            self.store.discard()
            log.error("Generation %d failed: %s; going back", document.generation, error)
            self._end_confirm(keep=False)
            self.running = previous
            self._settle(previous)
            raise
        finally:
            self.host.secrets = {}
        self._end_confirm(keep=False)
        self.running = document
        self.state, self.detail = "converged", ""
        if confirm is None:
            self._lost = ""
        else:
            self._await_confirm(previous, keep, confirm)
        self.counts.applied += 1
        self.counts.last_apply_seconds = outcome.seconds
        # What a document is made of lives long; without this every collection would walk all of it.
        gc.freeze()
        return Report(
            generation=document.generation,
            state=self.state,
            changes=outcome.plan.as_json(),
            seconds=round(outcome.seconds, 6),
        )

    def _settle(self, document: Document, *, fresh: bool = False) -> None:
        """Converge, and if that fails be degraded and say why; the watch tries again."""
        try:
            self._converge(document, fresh=fresh)
        except Exception as error:
            self.host.seen.clear()
            log.error("Not converged: %s", error)
            self.state, self.detail = "degraded", str(error)
        else:
            self.state = "converged" if document.generation else "empty"
            self.detail = ""
            if self._confirm_timer is not None:
                self.state = "unconfirmed"
            elif self._lost:
                self.state, self.detail = "degraded", self._lost

    def _converge(self, document: Document, *, fresh: bool = False) -> transaction.Outcome:
        wanted = roles.resources(document, self.boot)
        outcome = transaction.converge(wanted, self.host, fresh=fresh, before_step=_crash_where_told)
        self.wanted = outcome.plan.wanted
        return outcome

    # --- confirmed changes --------------------------------------------------------------------------

    def _await_confirm(self, previous: Document, keep: Callable[[], None], seconds: float) -> None:
        self.state = "unconfirmed"
        self._before_confirm, self._keep = previous, keep
        self._confirm_timer = threading.Timer(seconds, self._go_back, (self.running.generation,))
        self._confirm_timer.daemon = True
        self._confirm_timer.start()

    def _end_confirm(self, *, keep: bool) -> bool:
        if self._confirm_timer is None:
            return False
        if keep:
            # Where it can't be kept, the change goes on waiting, and back by itself.
            self._keep()
            self.state, self._lost = "converged", ""
        self._confirm_timer.cancel()
        self._confirm_timer, self._before_confirm = None, None
        return True

    def _go_back(self, generation: int) -> None:
        with self._lock:
            if self._before_confirm is None or self.running.generation != generation:
                return
            previous = self._before_confirm
            log.warning("Generation %d was not confirmed in time; going back", self.running.generation)
            self._end_confirm(keep=False)
            self.store.discard()
            self.running = previous
            self._settle(previous)


def give_back_memory() -> None:
    """What starting, or a large document, took and left free goes back to the system. Otherwise glibc keeps
    it: malloc_trim(3)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def _crash_where_told(step: int | str) -> None:
    if os.environ.get(CRASH_AT) == str(step):
        os.kill(os.getpid(), signal.SIGKILL)
