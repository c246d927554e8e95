"""Observe and change the passwords that wait for their guests.

The document's store keeps only keyed digests. A password is on disk from the push that brought it until
the guest has fetched it; a digest that was offered once is noted, so that the same document again
doesn't offer it again.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
    if moves := dict(_moves(wanted, offered)):
        yield Change(
            kind=KIND,
            name=", ".join(moves),
            action="update",
            detail="move with the guest to its new address",
            run=lambda: _move(moves, host),
        )
        offered = _after(moves, offered)
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
    for name in _unknown(offered, host) if fresh else ():
        yield Change(
            kind=KIND,
            name=name,
            action="delete",
            detail="nobody offered it",
            run=lambda name=name: disk.remove(_path(name, host)),  # type: ignore[misc]
        )


def _moves(wanted: Sequence[Password], offered: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """New name -> old name of each password whose guest has another address now. A digest is of one guest's
    password only, so the same one is the same guest's."""
    names = {digest: name for name, digest in offered.items()}
    for password in wanted:
        old = names.get(password.value)
        if old is not None and offered.get(_name(password)) != password.value:
            yield _name(password), old


def _after(moves: Mapping[str, str], offered: Mapping[str, str]) -> dict[str, str]:
    kept = {name: digest for name, digest in offered.items() if name not in moves.values()}
    return kept | {new: offered[old] for new, old in moves.items()}


def _move(moves: Mapping[str, str], host: Host) -> None:
    """Guests may have swapped addresses, so all are taken away before any is put back: in a crash between
    the two one may be lost, but none given to another guest."""
    waiting: dict[str, bytes] = {}
    for new, old in moves.items():
        with suppress(FileNotFoundError), _locked(_path(old, host).parent):
            waiting[new] = _path(old, host).read_bytes()
            disk.remove(_path(old, host))
    offered = _after(moves, _offered(host))
    _note(offered, host)
    for new, content in waiting.items():
        _put(new, content, host)


def _unknown(offered: Mapping[str, str], host: Host) -> list[str]:
    """What lies there and was noted by nobody: a crash came in between."""
    top = host.persistent / "passwords"
    files = (path.relative_to(top) for path in top.glob("*/*"))
    return sorted(str(name) for name in files if str(name) not in offered)


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
    _put(_name(password), host.secrets[password.value].encode(), host)
    _note({**_offered(host), _name(password): password.value}, host)


def _put(name: str, content: bytes, host: Host) -> None:
    path = _path(name, host)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    shutil.chown(path.parent, OWNER, OWNER)
    with _locked(path.parent):
        disk.replace(path, content, mode=0o600, owner=OWNER, group=OWNER)


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
