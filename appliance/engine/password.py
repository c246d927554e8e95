"""Observe and change the passwords that wait for their guests.

The document's store keeps only keyed digests. A password is on disk from the push that brought it until
the guest has fetched it; a digest that was offered once is noted, so that the same document again
doesn't offer it again.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from appliance import disk
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import Password

KIND = "Password"
OWNER = "sysvm-metadata"
_NOTE = "passwords-offered.json"


def plan(wanted: Sequence[Password], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    offered = _offered(host)
    for password in wanted:
        if offered.get(_name(password)) != password.value and password.value in host.secrets:
            yield Change(
                kind=KIND,
                name=_name(password),
                action="create",
                detail="offer it to the guest once",
                run=lambda password=password: _offer(password, host),  # type: ignore[misc]
            )
    names = {_name(password) for password in wanted}
    for name in sorted(offered.keys() - names):
        yield Change(
            kind=KIND,
            name=name,
            action="delete",
            run=lambda name=name: _withdraw(name, host),  # type: ignore[misc]
        )


def _name(password: Password) -> str:
    return f"{password.network}/{password.address}"


def _path(name: str, host: Host) -> Path:
    return host.persistent / "passwords" / name


def _offered(host: Host) -> dict[str, str]:
    cached = host.seen.get(KIND)
    if cached is None:
        try:
            cached = json.loads((host.persistent / _NOTE).read_bytes())
        except (FileNotFoundError, ValueError):
            cached = {}
        host.seen[KIND] = cached
    result: dict[str, str] = cached
    return result


def _offer(password: Password, host: Host) -> None:
    name = _name(password)
    path = _path(name, host)
    path.parent.mkdir(parents=True, exist_ok=True)

    path.parent.chmod(0o700)
    shutil.chown(path.parent, OWNER, OWNER)
    with _locked(path.parent):
        disk.replace(path, host.secrets[password.value].encode(), mode=0o600, owner=OWNER, group=OWNER)
    _note({**_offered(host), name: password.value}, host)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """The service compares and unlinks under this lock: it must not take away what just came."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _withdraw(name: str, host: Host) -> None:
    disk.remove(_path(name, host))
    _note({key: value for key, value in _offered(host).items() if key != name}, host)


def _note(offered: dict[str, str], host: Host) -> None:
    host.seen.pop(KIND, None)
    disk.write_json(host.persistent / _NOTE, offered)
    host.seen[KIND] = offered
