"""The desk: takes tickets, knows all sessions, and tells relays what becomes of them.

Relays ask by lines of JSON over a unix socket. What must outlive the desk (tickets that were taken,
sessions) is in its journal, so that relays and their viewers don't notice that there is a new one.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consoleproxy.console_server import settings as configuration
from consoleproxy.console_server.journal import Journal, private
from consoleproxy.console_server.session import Ended, Session, Sessions
from consoleproxy.console_server.text import TextConsoles
from consoleproxy.console_server.ticket import TicketError

_TICK_SECONDS = 0.5
_MOST_LINE = 65_536
_MOST_TRAFFIC = 1 << 24
"""Of a relay's line: once a second it says what each of its sessions has passed."""
_STATUS_SECONDS = 1.0
_SOON_SECONDS = 0.02


class Desk:
    def __init__(self, config: Path, runtime: Path) -> None:
        self._config, self._runtime = config, runtime
        self.sessions = Sessions(configuration.load(config))
        self._relays: dict[int, asyncio.StreamWriter] = {}
        self._counts: Counter[str] = Counter()
        self._texts = TextConsoles()
        self._due: asyncio.TimerHandle | None = None
        self._journal = Journal(runtime / "desk.journal")
        self._journal.restore(self.sessions, now=time.time())

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        sockets = {
            "desk.sock": (self._relay, _MOST_TRAFFIC),
            "control.sock": (self._control, _MOST_LINE),
            "text.sock": (self._text, _MOST_LINE),
        }
        servers = []
        for name, (served, most) in sockets.items():
            path = self._runtime / name
            path.unlink(missing_ok=True)
            servers.append(await asyncio.start_unix_server(served, str(path), limit=most))
            path.chmod(0o600)
        due = 0.0
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _TICK_SECONDS)
            self.tick()
            if time.monotonic() >= due:
                due = time.monotonic() + _STATUS_SECONDS
                _write(self._runtime / "status.json", json.dumps(self.status()))
        for server in servers:
            server.close()

    def reload(self) -> None:
        try:
            self.sessions.settings = configuration.load(self._config)
        except (OSError, ValueError, KeyError, TypeError) as error:
            # What was good before is better than nothing.
            print(f"{self._config}: {type(error).__name__}", file=sys.stderr, flush=True)
            return
        self.tick()

    def tick(self) -> None:
        now = time.time()
        for ended in self.sessions.due(now):
            self._end(ended)
        self._publish()
        self._journal.tidy(self.sessions, now=now)

    def _soon(self) -> None:
        """What changed is told a moment later, together with what else changes until then."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_SOON_SECONDS, self._publish)

    def _publish(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        for console in self.sessions.changed:
            here = self.sessions.of(console)
            self._texts.keep(console, bool(here))
            for session in here:
                if session.relay is not None:
                    self._tell(session.relay, {"do": "view", **self.sessions.view(session)})
        self.sessions.changed.clear()

    def _end(self, ended: Ended) -> None:
        session = ended.session
        self._audit("ended", session, reason=ended.code)
        if session.relay is not None:
            self._tell(session.relay, {"do": "close", "session": session.id, "code": ended.code})
        self.sessions.end(session)
        self._journal.ended(session)
        self._counts[f"ended {ended.code}"] += 1

    def _audit(self, event: str, session: Session, **more: object) -> None:
        """A line of the journal for who was on what and when."""
        value = {
            "event": event,
            "session": session.id,
            "user": session.user,
            "console": session.console,
            "client": session.client,
            "rights": sorted(session.rights),
            "to_viewer": session.to_viewer,
            "from_viewer": session.from_viewer,
            "seconds": round(time.time() - session.began, 1),
            **more,
        }
        print(f"audit {json.dumps(value)}", file=sys.stderr, flush=True)

    # Relays

    def _tell(self, relay: int, value: Mapping[str, object]) -> None:
        writer = self._relays.get(relay)
        if writer is not None:
            writer.write(json.dumps(value).encode() + b"\n")

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = -1
        try:
            while line := await reader.readline():
                value = json.loads(line)
                if value["do"] == "hello":
                    number = value["relay"]
                    self._relays[number] = writer
                    self._return(number, value["sessions"])
                    continue
                answer = self._answer(number, value)
                if answer is not None:
                    writer.write(json.dumps({"id": value["id"], **answer}).encode() + b"\n")
        except (OSError, ValueError) as error:
            print(f"relay {number}: {error!r}", file=sys.stderr, flush=True)
        finally:
            writer.close()
            if self._relays.get(number) is writer:
                del self._relays[number]
                for session in self.sessions.by_id.values():
                    if session.relay == number:
                        self.sessions.leave(session, now=time.time())

    def _return(self, number: int, connected: Mapping[str, int]) -> None:
        """A relay that was there before the desk was says which sessions it has."""
        for name, connection in connected.items():
            session = self.sessions.by_id.get(name)
            if session is None:
                self._tell(number, {"do": "close", "session": name, "code": "session-unknown"})
            elif connection < session.connections:
                self._tell(number, {"do": "close", "session": name, "code": "elsewhere"})
            else:
                session.relay, session.left, session.connections = number, None, connection
                self.sessions.changed.add(session.console)

    def _answer(self, number: int, value: Mapping[str, Any]) -> Mapping[str, object] | None:
        now = time.time()
        try:
            match value["do"]:
                case "trade":
                    session, token = self.sessions.trade(value["ticket"], client=value["client"], now=now)
                    self._audit("began", session)
                    self._counts["tickets taken"] += 1
                    self._journal.began(session, expires=self.sessions.nonces[session.nonce])
                    kind = self.sessions.settings.consoles[session.console].kind
                    return {"token": token, "kind": kind, **self.sessions.view(session)}
                case "enter":
                    before = self.sessions.place(value["token"])
                    session = self.sessions.enter(
                        value["token"], client=value["client"], relay=number, now=now
                    )
                    self._audit("entered", session, client_now=value["client"])
                    if before not in (None, number):
                        self._tell(before, {"do": "close", "session": session.id, "code": "elsewhere"})
                    self._soon()
                    place = {"console": session.console, "connection": session.connections}
                    return {**place, **self.sessions.view(session)}
        except TicketError as error:
            self._counts[f"refused {error.code}"] += 1
            print(f"refused {value['client']}: {error.code}: {error}", file=sys.stderr, flush=True)
            return {"error": error.code}
        self._told(number, value, now)
        return None

    def _told(self, number: int, value: Mapping[str, Any], now: float) -> None:
        if value["do"] == "traffic":
            for name, (to_viewer, from_viewer, active) in value["sessions"].items():
                if session := self.sessions.by_id.get(name):
                    session.to_viewer += to_viewer
                    session.from_viewer += from_viewer
                    if active:
                        session.active = now
            return
        session = self.sessions.by_id.get(value["session"])
        if session is None or session.relay != number:
            return
        if value.get("connection", session.connections) != session.connections:
            # Of a connection whose session has been entered anew since.
            return
        match value["do"]:
            case "left":
                self._audit("left", session, reason=value["code"])
                self.sessions.leave(session, now=now)
            case "ended":
                self._end(Ended(session, value["code"]))
            case "command":
                controls = session.controls
                self.sessions.command(session, value["command"], now=now)
                if session.controls is not controls:
                    self._audit("control", session, controls=session.controls)
        self._soon()

    # Text consoles, the control socket

    async def _text(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = (await reader.readline()).decode("utf-8", "replace").rstrip("\n")
        console = self.sessions.settings.consoles.get(name)
        if console is None or console.kind != "text":
            writer.close()
            return
        await self._texts.attach(console, reader, writer)

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """HTTP for whoever is root here: `/health`, `/status`, `/sessions`, and a POST that ends one."""
        try:
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode("latin-1")
            method, path, *_ = head.split(" ", 2)
            status, value = self._controlled(method, path)
            body = json.dumps(value).encode()
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    def _controlled(self, method: str, path: str) -> tuple[str, object]:
        match (method, path.removeprefix("/v1/console").strip("/").split("/")):
            case ("GET", ["health"]):
                ok = bool(self._relays)
                return ("200 OK" if ok else "503 Service Unavailable"), {"relays": sorted(self._relays)}
            case ("GET", ["status"]):
                return "200 OK", self.status()
            case ("GET", ["sessions"]):
                return "200 OK", {"sessions": [each.seen() for each in self.sessions.by_id.values()]}
            case ("POST", ["sessions", name, "kick"]) if name in self.sessions.by_id:
                self._end(Ended(self.sessions.by_id[name], "kicked"))
                self.tick()
                return "200 OK", {}
        return "404 Not Found", {}

    def status(self) -> dict[str, Any]:
        return {
            **self.sessions.load(time.time()),
            "relays": len(self._relays),
            "counts": dict(self._counts),
            "to_viewer": sum(each.to_viewer for each in self.sessions.by_id.values()),
            "from_viewer": sum(each.from_viewer for each in self.sessions.by_id.values()),
        }


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}")
    with private(partial, os.O_TRUNC) as file:
        file.write(text)
    partial.rename(path)
