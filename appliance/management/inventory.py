"""The inventory: every appliance, the documents wanted of it, and how far it has got.

Whatever the push loop must not forget is here and nowhere else, so that it can be killed at any point
and go on after. Times are Unix seconds.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from sqlalchemy import CursorResult, Engine, Update, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from appliance.boot import API_PORT, ControlInterface
from appliance.management.tables import ApplianceRow, DocumentRow, open_database
from appliance.model import Problem

HISTORY = 20
"""Generations kept of each appliance, the wanted one included."""

State = Literal["empty", "pending", "converged", "drifted", "degraded", "refused", "failed", "unreachable"]
"""empty: nothing is wanted and nothing runs. pending: a push is due. refused: the appliance won't have
this generation. failed: it answered with another error. unreachable: it didn't answer."""
STATES: tuple[State, ...] = (
    "empty", "pending", "converged", "drifted", "degraded", "refused", "failed", "unreachable",
)  # fmt: skip


class UnknownApplianceError(LookupError):
    def __init__(self, name: str) -> None:
        super().__init__(f"There is no appliance {name!r}.")


class NameTakenError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"There is already an appliance {name!r}.")


class UnknownGenerationError(LookupError):
    def __init__(self, name: str, generation: int) -> None:
        super().__init__(f"Appliance {name!r} has no generation {generation} (the last {HISTORY} are kept).")


class StaleError(Exception):
    """A change made on the ground of a generation that isn't the current one."""

    def __init__(self, detail: str, *, current: int) -> None:
        super().__init__(detail)
        self.current = current


@dataclass(frozen=True, kw_only=True, slots=True)
class Appliance:
    id: int
    name: str
    role: str
    control: ControlInterface
    port: int
    created: float
    certificate_expires: float | None
    """When the newest certificate issued to it ends."""
    wanted: int
    """The generation it should run; 0 while no document was ever put."""
    wanted_digest: str | None
    state: State
    problems: tuple[Problem, ...]
    reported: int | None
    """The generation it said it runs when it last answered."""
    reported_digest: str | None
    last_error: str | None
    last_contact: float | None
    attempts: int
    """Contacts in a row that didn't get it to where it should be."""
    next_try: float

    @property
    def host(self) -> str:
        """The control address without its prefix length."""
        return self.control.address.partition("/")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """One generation of an appliance's document; `text` is the JSON, with its secrets."""

    generation: int
    text: str
    digest: str
    created: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What putting a document came to; `changed` is False when it was the wanted one already."""

    generation: int
    digest: str
    changed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Contact:
    """What came of one contact with an appliance."""

    state: State
    answered: bool
    reported: int | None = None
    reported_digest: str | None = None
    error: str | None = None
    problems: tuple[Problem, ...] = ()
    attempts: int = 0
    delay: float
    """Seconds until the next contact."""


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of what a document says, its generation left out, so that the same wish is the same digest."""
    said = {key: value for key, value in content.items() if key != "generation"}
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()


class Inventory:
    """Safe to use from many threads, and, but for SQLite's one writer at a time, from many processes."""

    def __init__(self, engine: Engine, *, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._now = now
        # SQLite's writers wait for each other by polling; those of one process can queue instead.
        self._turn = threading.Lock()

    @classmethod
    def open(cls, url: str, *, now: Callable[[], float] = time.time) -> "Inventory":
        return cls(open_database(url), now=now)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with Session(self._engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        # A transaction that writes never reads first: it would hold a snapshot that SQLite refuses to
        # write from once another process has written (SQLITE_BUSY_SNAPSHOT).
        with self._turn, Session(self._engine) as session, session.begin():
            yield session

    def create(
        self, *, name: str, role: str, control: ControlInterface, port: int = API_PORT,
        certificate_expires: float | None = None,
    ) -> Appliance:  # fmt: skip
        """Raises NameTakenError."""
        now = self._now()
        row = ApplianceRow(
            name=name, role=role, port=port, created=now, certificate_expires=certificate_expires,
            control_mac=control.mac, control_address=control.address, control_gateway=control.gateway,
            wanted_generation=0, state="pending", attempts=0, next_try=now,
        )  # fmt: skip
        try:
            with self.writing() as session:
                session.add(row)
        except IntegrityError:
            raise NameTakenError(name) from None
        return self.appliance(name)

    def appliance(self, name: str) -> Appliance:
        """Raises UnknownApplianceError."""
        with self.reading() as session:
            row = session.scalar(select(ApplianceRow).where(ApplianceRow.name == name))
            if row is None:
                raise UnknownApplianceError(name)
            return _appliance(row)

    def appliances(self) -> list[Appliance]:
        """All of them, by name."""
        query = select(ApplianceRow).order_by(ApplianceRow.name)
        with self.reading() as session:
            return [_appliance(row) for row in session.scalars(query)]

    def states(self) -> dict[State, int]:
        """How many appliances are in each state."""
        counts: dict[State, int] = dict.fromkeys(STATES, 0)
        with self.reading() as session:
            query = select(ApplianceRow.state, func.count()).group_by(ApplianceRow.state)
            for state, count in session.execute(query):
                counts[cast(State, state)] = count
        return counts

    def delete(self, name: str) -> None:
        """Forget an appliance and its documents. Raises UnknownApplianceError."""
        with self.writing() as session:
            if not _changed(session.execute(delete(ApplianceRow).where(ApplianceRow.name == name))):
                raise UnknownApplianceError(name)

    def set_certificate_expires(self, name: str, expires: float) -> None:
        row = update(ApplianceRow).where(ApplianceRow.name == name)
        with self.writing() as session:
            session.execute(row.values(certificate_expires=expires))

    def document(self, name: str, *, generation: int | None = None) -> Revision | None:
        """The wanted document, or an earlier generation; None while there never was one.

        Raises UnknownApplianceError, UnknownGenerationError.
        """
        query = select(DocumentRow).join(ApplianceRow).where(ApplianceRow.name == name)
        if generation is not None:
            query = query.where(DocumentRow.generation == generation)
        with self.reading() as session:
            row = session.scalar(query.order_by(DocumentRow.generation.desc()).limit(1))
            if row is not None:
                return Revision(
                    generation=row.generation, text=row.text, digest=row.digest, created=row.created
                )
        self.appliance(name)
        if generation is not None:
            raise UnknownGenerationError(name, generation)
        return None

    def generations(self, name: str) -> list[int]:
        """The generations that are kept, newest first."""
        query = select(DocumentRow.generation).join(ApplianceRow).where(ApplianceRow.name == name)
        with self.reading() as session:
            return list(session.scalars(query.order_by(DocumentRow.generation.desc())))

    def put(self, name: str, content: Mapping[str, Any], *, expected: int | None = None) -> Stored:
        """Want this document from now on. The same content again is no new generation, but is tried at once.

        `expected` is the generation that the change was made on the ground of. Raises
        UnknownApplianceError, and StaleError when the current generation is another, or isn't older
        than the one the document carries.
        """
        mark = digest(content)
        given: int | None = content.get("generation")
        while True:
            appliance = self.appliance(name)
            current = appliance.wanted
            if expected is not None and expected != current:
                raise StaleError(f"The document is generation {current}, not {expected}.", current=current)
            if appliance.wanted_digest == mark and given in (None, current):
                self._try_now(appliance)
                return Stored(generation=current, digest=mark, changed=False)
            if given is not None and given <= current:
                raise StaleError(f"Generation {given} isn't newer than {current}.", current=current)
            generation = given or max(current, appliance.reported or 0) + 1
            if self._store(appliance, content, generation=generation, mark=mark):
                return Stored(generation=generation, digest=mark, changed=True)

    def adopt(self, appliance: Appliance, *, above: int, attempts: int, delay: float) -> int | None:
        """Number the wanted document anew, higher than what the appliance has seen: this database doesn't
        know of it (it was restored from a backup, say). None if the wanted document changed meanwhile.

        `attempts` and `delay` (seconds) are for the push that has to follow.
        """
        wanted = self.document(appliance.name)
        if wanted is None or wanted.generation != appliance.wanted:
            return None
        generation = max(above, appliance.wanted) + 1
        text = _text(json.loads(wanted.text), generation)
        with self.writing() as session:
            claimed = session.execute(
                _claim(appliance, generation, wanted.digest).values(
                    attempts=attempts, next_try=self._now() + delay
                )
            )
            if not _changed(claimed):
                return None
            session.execute(
                update(DocumentRow)
                .where(DocumentRow.appliance_id == appliance.id, DocumentRow.generation == wanted.generation)
                .values(generation=generation, text=text)
            )
        return generation

    def _store(
        self, appliance: Appliance, content: Mapping[str, Any], *, generation: int, mark: str
    ) -> bool:
        """False when somebody else was quicker; then the generation that was counted on is gone."""
        text = _text(content, generation)
        now = self._now()
        with self.writing() as session:
            claimed = session.execute(
                _claim(appliance, generation, mark).values(attempts=0, next_try=now, last_error=None)
            )
            if not _changed(claimed):
                return False
            session.add(
                DocumentRow(
                    appliance_id=appliance.id, generation=generation, text=text, digest=mark, created=now
                )
            )
            kept = select(DocumentRow.generation).where(DocumentRow.appliance_id == appliance.id)
            oldest = session.scalars(kept.order_by(DocumentRow.generation.desc()).limit(HISTORY)).all()[-1]
            session.execute(
                delete(DocumentRow).where(
                    DocumentRow.appliance_id == appliance.id, DocumentRow.generation < oldest
                )
            )
        return True

    def _try_now(self, appliance: Appliance) -> None:
        with self.writing() as session:
            session.execute(
                update(ApplianceRow)
                .where(ApplianceRow.id == appliance.id, ApplianceRow.wanted_generation == appliance.wanted)
                .values(attempts=0, next_try=self._now())
            )

    def due(self, *, before: float, most: int, but: Collection[int] = ()) -> list[Appliance]:
        """Whose next contact is due, longest due first; `but` are the ids of those to leave out."""
        query = (
            select(ApplianceRow)
            .where(ApplianceRow.next_try <= before, ApplianceRow.id.not_in(but))
            .order_by(ApplianceRow.next_try)
            .limit(most)
        )
        with self.reading() as session:
            return [_appliance(row) for row in session.scalars(query)]

    def next_due(self, *, after: float) -> float | None:
        """When the first contact after a time falls due."""
        query = select(func.min(ApplianceRow.next_try)).where(ApplianceRow.next_try > after)
        with self.reading() as session:
            return session.scalar(query)

    def record(self, appliance: Appliance, contact: Contact) -> None:
        """Keep what came of a contact; where a newer document arrived meanwhile, only what is still true."""
        now = self._now()
        same = ApplianceRow.id == appliance.id
        with self.writing() as session:
            if contact.answered:
                facts: dict[str, Any] = {"last_contact": now}
                if contact.reported is not None:
                    facts |= {
                        "reported_generation": contact.reported, "reported_digest": contact.reported_digest,
                    }  # fmt: skip
                session.execute(update(ApplianceRow).where(same).values(facts))
            problems = json.dumps([asdict(problem) for problem in contact.problems])
            session.execute(
                update(ApplianceRow)
                .where(same, ApplianceRow.wanted_generation == appliance.wanted)
                .values(
                    state=contact.state, last_error=contact.error, attempts=contact.attempts,
                    problems=problems, next_try=now + contact.delay,
                )
            )  # fmt: skip


def _text(content: Mapping[str, Any], generation: int) -> str:
    return json.dumps({**content, "generation": generation}, ensure_ascii=False)


def _claim(appliance: Appliance, generation: int, mark: str) -> Update:
    """Changes no row when somebody else has changed the wanted generation first."""
    return (
        update(ApplianceRow)
        .where(ApplianceRow.id == appliance.id, ApplianceRow.wanted_generation == appliance.wanted)
        .values(wanted_generation=generation, wanted_digest=mark, state="pending", problems=None)
    )


def _changed(result: Any) -> bool:
    return bool(cast(CursorResult[Any], result).rowcount)


def _appliance(row: ApplianceRow) -> Appliance:
    return Appliance(
        id=row.id,
        name=row.name,
        role=row.role,
        control=ControlInterface(
            mac=row.control_mac, address=row.control_address, gateway=row.control_gateway
        ),
        port=row.port,
        created=row.created,
        certificate_expires=row.certificate_expires,
        wanted=row.wanted_generation,
        wanted_digest=row.wanted_digest,
        state=cast(State, row.state),
        problems=tuple(Problem(**problem) for problem in json.loads(row.problems or "[]")),
        reported=row.reported_generation,
        reported_digest=row.reported_digest,
        last_error=row.last_error,
        last_contact=row.last_contact,
        attempts=row.attempts,
        next_try=row.next_try,
    )
