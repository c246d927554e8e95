"""Sessions: who sees which console, and who has its keyboard. Pure: times come from outside."""

import hashlib
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from consoleproxy.console_server.settings import Limits, Settings
from consoleproxy.console_server.ticket import Ticket, TicketError, read, same_address


@dataclass(kw_only=True, slots=True)
class Session:
    id: str
    """What lists and logs call it by; it opens nothing."""
    digest: str
    """Of the token that opens it."""
    user: str
    console: str
    rights: frozenset[str]
    client: str
    bound: bool
    nonce: str
    began: float
    active: float
    """When anything but requests for pictures was last sent, by either side."""
    relay: int | None = None
    """The connected relay's number; None: the viewer is away."""
    left: float | None = None
    """Since when it is away."""
    controls: bool = False
    asked: bool = False
    """Whether it waits for control."""
    to_viewer: int = 0
    """Bytes."""
    from_viewer: int = 0
    connections: int = 0

    def seen(self) -> dict[str, Any]:
        """What lists show."""
        value = asdict(self)
        del value["digest"], value["nonce"], value["bound"]
        return value | {"rights": sorted(self.rights), "connected": self.relay is not None}


@dataclass(frozen=True, slots=True)
class Ended:
    session: Session
    code: str


@dataclass(slots=True)
class Sessions:
    """All of a proxy. Whatever changes is in `changed` until it is told: consoles whose viewers see other
    things than before."""

    settings: Settings
    by_id: dict[str, Session] = field(default_factory=dict)
    nonces: dict[str, float] = field(default_factory=dict)
    """Tickets that were taken, until they expire."""
    changed: set[str] = field(default_factory=set)
    _ids: dict[str, str] = field(default_factory=dict)
    """Session by digest."""
    _of_console: dict[str, dict[str, Session]] = field(default_factory=dict)
    _of_user: Counter[str] = field(default_factory=Counter)

    @property
    def limits(self) -> Limits:
        return self.settings.limits

    def trade(self, text: str, *, client: str, now: float) -> tuple[Session, str]:
        """A session for a ticket, and the token that opens it. Raises TicketError."""
        settings = self.settings
        ticket = read(text, keys=settings.keys, audience=settings.name, now=now, client=client)
        self._admit(ticket)
        self.nonces[ticket.nonce] = ticket.expires
        token = secrets.token_urlsafe(32)
        session = Session(
            id=f"s-{secrets.token_hex(6)}",
            digest=digest(token),
            user=ticket.user,
            console=ticket.console,
            rights=ticket.rights,
            client=client,
            bound=ticket.client is not None,
            nonce=ticket.nonce,
            began=now,
            active=now,
            left=now,
        )
        self.add(session)
        return session, token

    def _admit(self, ticket: Ticket) -> None:
        if ticket.nonce in self.nonces:
            raise TicketError("ticket-used", "it was taken before")
        revoked = self.settings.revoked
        if ticket.nonce in revoked.tickets or ticket.user in revoked.users:
            raise TicketError("ticket-revoked", "it was revoked")
        console = self.settings.consoles.get(ticket.console)
        if console is None:
            raise TicketError("console-unknown", "the document has no such console")
        if self.settings.draining:
            raise TicketError("draining", "the proxy takes no new sessions")
        if len(self.by_id) >= self.limits.sessions:
            raise TicketError("proxy-full", "the proxy has as many sessions as it may")
        if self._of_user[ticket.user] >= self.limits.sessions_per_user:
            raise TicketError("user-full", "the user has as many sessions as they may")
        if len(self.of(ticket.console)) >= console.viewers:
            raise TicketError("console-full", "the console has as many viewers as it may")

    def add(self, session: Session) -> None:
        self.by_id[session.id] = session
        self._ids[session.digest] = session.id
        self._of_console.setdefault(session.console, {})[session.id] = session
        self._of_user[session.user] += 1

    def enter(self, token: str, *, client: str, relay: int, now: float) -> Session:
        """The session of a token, with its viewer there. Raises TicketError."""
        session = self.by_id.get(self._ids.get(digest(token), ""))
        if session is None:
            raise TicketError("session-unknown", "there is no such session")
        if session.bound and not same_address(session.client, client):
            raise TicketError("ticket-elsewhere", "the session is bound to another address")
        session.relay, session.left, session.active = relay, None, now
        session.connections += 1
        if "control" in session.rights and not session.controls:
            # Whoever is away keeps control only until somebody comes who wants it.
            holder = next((each for each in self.of(session.console) if each.controls), None)
            if holder is None or holder.relay is None:
                if holder is not None:
                    holder.controls = False
                session.controls = True
        self.changed.add(session.console)
        return session

    def place(self, token: str) -> int | None:
        """The relay where the session of a token is."""
        session = self.by_id.get(self._ids.get(digest(token), ""))
        return session.relay if session is not None else None

    def leave(self, session: Session, *, now: float) -> None:
        """Its viewer's connection is gone; it may come back for a while."""
        session.relay, session.left = None, now
        self.changed.add(session.console)

    def end(self, session: Session) -> None:
        if self.by_id.pop(session.id, None) is None:
            return
        del self._ids[session.digest]
        del self._of_console[session.console][session.id]
        if not self._of_console[session.console]:
            del self._of_console[session.console]
        self._of_user[session.user] -= 1
        self._hand_over(session)
        self.changed.add(session.console)

    def of(self, console: str) -> list[Session]:
        """Those of one console."""
        return list(self._of_console.get(console, {}).values())

    def _hand_over(self, gone: Session) -> None:
        """Control goes to whoever asked for it, else to who has been here longest with the right to it."""
        if not gone.controls:
            return
        gone.controls = False
        others = [
            each
            for each in self.of(gone.console)
            if "control" in each.rights and each.relay is not None and each is not gone
        ]
        if others:
            heir = min(others, key=lambda each: (not each.asked, each.began))
            heir.controls, heir.asked = True, False

    def command(self, session: Session, command: Mapping[str, object], *, now: float) -> None:
        """What a viewer asks for: `ask` for control, `give` it to whoever asked, `refuse` that."""
        match command.get("do"):
            case "ask" if "control" in session.rights and not session.controls:
                holder = next((each for each in self.of(session.console) if each.controls), None)
                if holder is None or holder.relay is None:
                    if holder is not None:
                        holder.controls = False
                    session.controls = True
                else:
                    session.asked = True
            case "give" if session.controls:
                if any(each.asked for each in self.of(session.console)):
                    self._hand_over(session)
            case "refuse" if session.controls:
                for each in self.of(session.console):
                    each.asked = False
            case _:
                return
        session.active = now
        self.changed.add(session.console)

    def view(self, session: Session) -> dict[str, Any]:
        """What the page is told of its session and of the others."""
        others = self.of(session.console)
        console = self.settings.consoles.get(session.console)
        return {
            "session": session.id,
            "title": console.title if console is not None else session.console,
            "rights": sorted(session.rights),
            "controls": session.controls,
            "asked": session.asked,
            "viewers": sum(each.relay is not None for each in others),
            "controller": next((each.user for each in others if each.controls), None),
            "asking": next((each.user for each in others if each.asked), None) if session.controls else None,
        }

    def due(self, now: float) -> list[Ended]:
        """Sessions that are over, and why. Tickets that have expired are forgotten."""
        self.nonces = {nonce: expires for nonce, expires in self.nonces.items() if expires > now - 60}
        found = [(session, self._over(session, now)) for session in self.by_id.values()]
        return [Ended(session, code) for session, code in found if code is not None]

    def _over(self, session: Session, now: float) -> str | None:
        limits, revoked = self.limits, self.settings.revoked
        if (
            session.id in revoked.sessions
            or session.nonce in revoked.tickets
            or session.user in revoked.users
        ):
            return "kicked"
        if session.console not in self.settings.consoles:
            return "console-unknown"
        if now - session.began > limits.session_seconds:
            return "session-over"
        if session.relay is None and session.left is not None:
            return "away" if now - session.left > limits.grace_seconds else None
        return "idle" if now - session.active > limits.idle_seconds else None

    def load(self, now: float) -> dict[str, Any]:
        """What the management plane needs to choose a proxy, to start another one and to drain this one."""
        connected = sum(each.relay is not None for each in self.by_id.values())
        return {
            "capacity": self.limits.sessions,
            "sessions": len(self.by_id),
            "connected": connected,
            "free": 0 if self.settings.draining else max(0, self.limits.sessions - len(self.by_id)),
            "draining": self.settings.draining,
            "drained": self.settings.draining and not self.by_id,
        }


def digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
