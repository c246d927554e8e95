"""What must outlive the desk: tickets that were taken, and sessions. A line of JSON for each that begins or
ends; the file ends with the machine, and so do sessions."""

import json
import os
from pathlib import Path
from typing import IO, Any

from consoleproxy.console_server.session import Session, Sessions

_MOST_LINES = 10_000


def private(path: Path, flag: int) -> IO[str]:
    """A file to write, that nobody else may read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600), "w")


class Journal:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._lines = 0

    def began(self, session: Session, *, expires: float) -> None:
        """A ticket that was taken stays taken, whatever becomes of this process."""
        self._note({"session": kept(session), "expires": expires})

    def ended(self, session: Session) -> None:
        self._note({"ended": session.id})

    def _note(self, value: object) -> None:
        if self._file is None:
            self._file = private(self._path, os.O_APPEND)
        self._file.write(json.dumps(value) + "\n")
        self._file.flush()
        self._lines += 1

    def restore(self, sessions: Sessions, *, now: float) -> None:
        """Sessions as they were, with their viewers away; the file is written anew without what is over."""
        try:
            lines = self._path.read_text().splitlines()
        except FileNotFoundError:
            return
        found: dict[str, dict[str, Any]] = {}
        for line in lines:
            try:
                value = json.loads(line)
            except ValueError:
                continue  # The last line of one that was killed.
            if "session" in value:
                found[value["session"]["id"]] = value
                sessions.nonces[value["session"]["nonce"]] = value["expires"]
            elif "ended" in value:
                found.pop(value["ended"], None)
            else:
                sessions.nonces[value["nonce"]] = value["expires"]
        for value in found.values():
            given = value["session"]
            given["rights"] = frozenset(given["rights"])
            sessions.add(Session(**given, active=now, left=now))
        self._rewrite(sessions, now=now)

    def tidy(self, sessions: Sessions, *, now: float) -> None:
        """What is over is left out once there is much of it."""
        if self._lines > _MOST_LINES + 2 * len(sessions.by_id):
            self._rewrite(sessions, now=now)

    def _rewrite(self, sessions: Sessions, *, now: float) -> None:
        partial = self._path.with_name(f".{self._path.name}")
        with private(partial, os.O_TRUNC) as file:
            for nonce, expires in sessions.nonces.items():
                if expires > now:
                    file.write(json.dumps({"nonce": nonce, "expires": expires}) + "\n")
            for session in sessions.by_id.values():
                expires = sessions.nonces.get(session.nonce, 0.0)
                file.write(json.dumps({"session": kept(session), "expires": expires}) + "\n")
        partial.rename(self._path)
        self._lines = 0
        if self._file is not None:
            self._file.close()
            self._file = None


def kept(session: Session) -> dict[str, object]:
    """What a session is made of again."""
    return {
        "id": session.id,
        "digest": session.digest,
        "user": session.user,
        "console": session.console,
        "rights": sorted(session.rights),
        "client": session.client,
        "bound": session.bound,
        "nonce": session.nonce,
        "began": session.began,
    }
