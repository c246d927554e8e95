"""The management plane as one thing: the inventory, the authority and the push loop, and what can be
asked of them. The HTTP API says nothing that isn't here; programs in the same process call it directly."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.boot import API_PORT, Boot, ControlInterface
from appliance.management import state
from appliance.management.authority import Authority, expires
from appliance.management.client import Agent, Report
from appliance.management.inventory import Appliance, Inventory, StaleError, Stored
from appliance.management.pusher import Pusher
from appliance.management.schedule import POLL_INTERVAL
from appliance.management.submission import accepted, shown
from appliance.management.usage import Usage
from appliance.model import merge_patch
from appliance.roles import document_model

QUERY_TIMEOUT = 120.0
"""Seconds that a question put through to an agent (status, health, usage, plan) may take."""
CAPTURE_TIMEOUT = 660.0
"""Seconds; a capture lasts 600 at most."""
CONTEXT_LIFETIME = 24 * 3600.0
"""Seconds after which the client certificate is looked at again: a process may outlive it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One generation of a document as it may be shown: secrets masked."""

    generation: int
    content: dict[str, Any]


class Plane:
    """Methods that name an appliance raise UnknownApplianceError."""

    def __init__(
        self, directory: Path, inventory: Inventory, *, poll_interval: float = POLL_INTERVAL
    ) -> None:
        self.inventory = inventory
        self.token = state.token(directory)
        self._directory = directory
        self._authority = Authority.open(directory)
        self._context = self._authority.client_context()
        self._context_made = time.monotonic()
        self._context_lock = threading.Lock()
        self.pusher = Pusher(inventory, self._connect, poll_interval=poll_interval)
        self.metrics = self.pusher.metrics
        self._usage = Usage(inventory, self._connect)

    @classmethod
    @contextmanager
    def open(
        cls, directory: Path = state.DEFAULT, *, database: str | None = None,
        poll_interval: float = POLL_INTERVAL,
    ) -> Iterator["Plane"]:  # fmt: skip
        """The management plane of a state directory, its push loop running; one process at a time.

        Raises state.InUseError, OSError, and sqlalchemy.exc.SQLAlchemyError for the database (a
        SQLAlchemy URL; by default SQLite in the directory).
        """
        state.prepare(directory)
        with ExitStack() as stack:
            stack.enter_context(state.locked(directory, "serve", wait=False))
            if database is None:
                path = directory / "inventory.sqlite"
                # SQLite gives its journal the mode of the database: documents hold secrets.
                path.touch(mode=0o600)
                database = f"sqlite:///{path}"
            inventory = Inventory.open(database)
            stack.callback(inventory.close)
            plane = cls(directory, inventory, poll_interval=poll_interval)
            plane.pusher.start()
            stack.callback(plane.pusher.stop)
            yield plane

    def create(self, *, name: str, role: str, control: ControlInterface, port: int = API_PORT) -> Boot:
        """A new appliance; what it boots with is returned here and kept nowhere.

        Raises NameTakenError, InvalidNameError, UnknownRoleError.
        """
        document_model(role)
        boot = self._authority.boot(name, role, control)
        appliance = self.inventory.create(
            name=name, role=role, control=control, port=port,
            certificate_expires=expires(boot.tls.certificate).timestamp(),
        )  # fmt: skip
        self.pusher.wake(appliance)
        return boot

    def reissue(self, name: str) -> Boot:
        """Boot data with a new certificate and key: for a rebuild, or before the certificate ends."""
        appliance = self.inventory.appliance(name)
        boot = self._authority.boot(name, appliance.role, appliance.control)
        self.inventory.set_certificate_expires(name, expires(boot.tls.certificate).timestamp())
        return boot

    def delete(self, name: str) -> None:
        appliance = self.inventory.appliance(name)
        self.inventory.delete(name)
        self.pusher.wake(appliance)

    def document(self, name: str, *, generation: int | None = None) -> Document | None:
        """What is wanted, or was; None while nothing ever was. Raises UnknownGenerationError."""
        revision = self.inventory.document(name, generation=generation)
        if revision is None:
            return None
        appliance = self.inventory.appliance(name)
        return Document(generation=revision.generation, content=shown(appliance, revision.text))

    def put(self, name: str, content: Mapping[str, Any], *, expected: int | None = None) -> Stored:
        """Want this document; it is pushed at once. Its role, name and generation may be left out.

        `expected` is the generation it replaces. Raises RefusedError, StaleError.
        """
        appliance = self.inventory.appliance(name)
        revision = self.inventory.document(name)
        document = accepted(appliance, content, stored=revision.text if revision else None)
        stored = self.inventory.put(name, document, expected=expected)
        self.pusher.wake(appliance)
        return stored

    def patch(self, name: str, patch: Mapping[str, Any], *, expected: int | None = None) -> Stored:
        """Change the wanted document by an RFC 7396 merge patch; otherwise as `put`."""
        while True:
            appliance = self.inventory.appliance(name)
            revision = self.inventory.document(name)
            base = json.loads(revision.text) if revision else {}
            # The number is the old one's own; only the patch may give another.
            base.pop("generation", None)
            current = revision.generation if revision else 0
            if expected is not None and expected != current:
                raise StaleError(f"The document is generation {current}, not {expected}.", current=current)
            document = accepted(
                appliance, merge_patch(base, patch), stored=revision.text if revision else None
            )
            try:
                stored = self.inventory.put(name, document, expected=current)
            except StaleError as error:
                # Somebody else was quicker. The patch is just as good for what is there now, unless it
                # was meant for one generation, or names one itself.
                if expected is not None or error.current == current:
                    raise
                continue
            self.pusher.wake(appliance)
            return stored

    def wait(self, name: str, stored: Stored, *, timeout: float) -> Appliance:
        """The appliance once it runs what was put, has refused it, is to run something else, or `timeout`
        seconds are over; see `is_converged` and its `state`."""
        return self.pusher.wait(name, digest=stored.digest, timeout=timeout)

    def plan(self, name: str, content: Mapping[str, Any] | None) -> Report:
        """What the appliance would change for a document (None: for the wanted one), changing nothing.

        Raises RefusedError, AgentError.
        """
        appliance = self.inventory.appliance(name)
        revision = self.inventory.document(name)
        stored = revision.text if revision else None
        wanted = json.loads(stored or "{}") if content is None else content
        document = accepted(appliance, wanted, stored=stored)
        document["generation"] = max(appliance.wanted, appliance.reported or 0) + 1
        with self.agent(name) as agent:
            return agent.plan(json.dumps(document))

    def switch_over(self, name: str) -> dict[str, Any]:
        """Have the peer of a pair's primary take over. Raises AgentError."""
        with self.agent(name) as agent:
            return agent.switch_over()

    def usage(self, name: str, *, own: bool = False) -> Any:
        """Traffic totals: of a redundant pair what both have counted, unless its `own` are wanted. Raises
        AgentError."""
        members = self.pusher.pairs.members(self.inventory.appliance(name))
        if not own and len(members) > 1:
            return self._usage.of_pair(members)
        with self.agent(name) as agent:
            return agent.usage()

    def agent(self, name: str) -> Agent:
        """A connection to an appliance, for questions."""
        return self._connect(self.inventory.appliance(name), answer_timeout=QUERY_TIMEOUT)

    def capturing(self, name: str) -> Agent:
        """The same for what is streamed: of a capture no packet need come for long."""
        return self._connect(self.inventory.appliance(name), answer_timeout=CAPTURE_TIMEOUT)

    def _connect(self, appliance: Appliance, **options: float) -> Agent:
        with self._context_lock:
            if time.monotonic() - self._context_made > CONTEXT_LIFETIME:
                self._context = Authority.open(self._directory).client_context()
                self._context_made = time.monotonic()
            context = self._context
        return Agent(
            name=appliance.name, host=appliance.host, port=appliance.port, context=context, **options
        )
