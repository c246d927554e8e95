"""Observe and change what strongSwan's IKE daemon holds: connections, secrets, keys, pools, and sessions.

It is compared with what the daemon itself lists. Connections and secrets are loaded under names that end
with a keyed digest of their content, so a list of names says which version of each is there, and nothing
that the engine remembers could be wrong about it. Keys and pools can't be named so; what they were loaded
from is noted.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from appliance import disk
from appliance.engine import charon, conntrack, l2tp, tunnel_link
from appliance.engine.change import Action, Change
from appliance.engine.charon import MARK, Association
from appliance.engine.host import Host
from appliance.engine.tunnel_link import SHARED_LINK
from appliance.resources import AddressPool, Connection, PrivateKey, Resource, SharedSecret

if TYPE_CHECKING:
    from vici import Session

KIND = "Connection"
KINDS = (AddressPool, PrivateKey, SharedSecret, Connection)
_SECRET, _KEY, _POOL, _SESSION = "SharedSecret", "PrivateKey", "AddressPool", "Session"
LATE = (KIND, _SECRET, _KEY, _POOL, _SESSION)
"""Kinds of changes that need the daemon to run."""
_NOTE = "ipsec.json"
_DIGEST_KEY = "ipsec.key"
_UNNAMED = "(unnamed)"
_GONE = ("DELETING", "DESTROYING")


class IpsecError(Exception):
    """What the daemon refused, in its own words."""


@dataclass
class _Held:
    """What the daemon has loaded, by the names it is loaded under."""

    connections: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    pools: set[str] = field(default_factory=set)
    sessions: list[Association] = field(default_factory=list)


def plan(wanted: Sequence[Resource], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    if not wanted:
        # The daemon is stopped, with all that it has.
        return
    held = _observe()
    connections = {
        _named(item.name, (item.settings, _credentials(item.name, wanted)), host): item
        for item in wanted
        if isinstance(item, Connection) and supported(item)
    }
    shared = {
        _named(f"{item.kind} {item.name}", (item.owners, item.value), host): item
        for item in wanted
        if isinstance(item, SharedSecret)
    }
    pools = {item.name: item for item in wanted if isinstance(item, AddressPool)}
    # What goes comes first: a connection or a user that is to be gone has no say in what comes.
    for name in sorted(held.connections - connections.keys()):
        yield _change(KIND, name, "delete", partial(_unload_connection, name))
    for name in sorted(held.secrets - shared.keys()):
        yield _change(_SECRET, name, "delete", partial(_unload_secret, name))
    users = {item.name for item in shared.values() if item.kind == "EAP"}
    for session in held.sessions:
        if session.state not in _GONE and not _stays(session, connections, users, pools):
            shown = f"{session.name} {session.user or session.remote_host}"
            yield _change(_SESSION, shown, "delete", partial(terminate, session))
    yield from _keys([item for item in wanted if isinstance(item, PrivateKey)], held, host)
    yield from _pools(pools, held, host)
    for name, secret in shared.items():
        if name not in held.secrets:
            yield _change(_SECRET, name, "create", partial(_load_secret, name, secret))
    for name, connection in connections.items():
        if name not in held.connections:
            yield _change(KIND, name, "create", partial(_load_connection, name, connection))


def supported(connection: Connection) -> bool:
    """Whether the kernel has what it takes."""
    if connection.link is None:
        return l2tp.available()
    return connection.link == SHARED_LINK or tunnel_link.available()


def _credentials(name: str, wanted: Sequence[Resource]) -> list[str]:
    """What a connection proves itself with: who takes it away from a peer wants the session gone, too."""
    return [
        item.value
        for item in wanted
        if (isinstance(item, PrivateKey) or (isinstance(item, SharedSecret) and item.kind == "IKE"))
        and item.name == name
    ]


def _observe() -> _Held:
    with charon.session() as asked:
        if asked is None:
            return _Held()
        return _Held(
            connections=set(charon.listed(asked.get_conns(), "conns")),
            secrets=set(charon.listed(asked.get_shared(), "keys")),
            keys=set(charon.listed(asked.get_keys(), "keys")),
            pools=set(asked.get_pools()),
            sessions=charon.associations(asked),
        )


def _stays(
    session: Association,
    connections: Mapping[str, Connection],
    users: set[str],
    pools: Mapping[str, AddressPool],
) -> bool:
    if session.user is None:
        # Whoever has just begun is of no connection yet. Of L2TP a user's own session is ended, by his name.
        return (
            session.connection in connections
            or session.connection == _UNNAMED
            or any(session.name == item.name and item.users for item in connections.values())
        )
    networks = [ip_network(pool.network) for pool in pools.values()]
    return (
        # A user's session outlives a change of what the next one begins with, a new certificate say.
        any(session.name == connection.name for connection in connections.values())
        and session.user in users
        and all(any(ip_address(own) in network for network in networks) for own in session.addresses)
    )


def _keys(wanted: Sequence[PrivateKey], held: _Held, host: Host) -> Iterator[Change]:
    noted: Mapping[str, str] = (host.note(_NOTE) or {}).get("keys", {})
    digests = {_digest(key.value, host): key for key in wanted}
    for number in sorted(held.keys - {noted[digest] for digest in digests if digest in noted}):
        yield _change(_KEY, number, "delete", partial(_unload_key, number))
    for digest, key in digests.items():
        if noted.get(digest) not in held.keys:
            yield _change(_KEY, key.name, "create", partial(_load_key, digest, key, host))


def _unload_key(number: str, charon: "Session") -> None:
    charon.unload_key({"id": number})


def _load_key(digest: str, key: PrivateKey, host: Host, charon: "Session") -> None:
    answer = charon.load_key({"type": "any", "data": key.value})
    _note(host, "keys", digest, answer["id"].decode())


def _pools(wanted: Mapping[str, AddressPool], held: _Held, host: Host) -> Iterator[Change]:
    noted: Mapping[str, str] = (host.note(_NOTE) or {}).get("pools", {})
    for name in sorted(held.pools - wanted.keys()):
        yield _change(_POOL, name, "delete", partial(_unload_pool, name))
    for name, pool in wanted.items():
        digest = _digest((pool.network, pool.attributes), host)
        if name not in held.pools or noted.get(name) != digest:
            yield _change(_POOL, name, "create", partial(_load_pool, pool, digest, host))


def _unload_pool(name: str, charon: "Session") -> None:
    charon.unload_pool({"name": name})


def _load_pool(pool: AddressPool, digest: str, host: Host, charon: "Session") -> None:
    # Noted before and after: a crash in between must not look as if either were loaded.
    _note(host, "pools", pool.name, None)
    charon.load_pool({pool.name: {"addrs": pool.network, **_plain(pool.attributes)}})
    _note(host, "pools", pool.name, digest)


def _load_connection(name: str, connection: Connection, charon: "Session") -> None:
    charon.load_conn({name: _plain(connection.settings)})


def _unload_connection(name: str, charon: "Session") -> None:
    charon.unload_conn({"name": name})


def _unload_secret(name: str, charon: "Session") -> None:
    charon.unload_shared({"id": name})


def _load_secret(name: str, secret: SharedSecret, charon: "Session") -> None:
    charon.load_shared(
        {"id": name, "type": secret.kind, "data": secret.value, "owners": list(secret.owners)}
    )


def terminate(session: Association, asked: "Session") -> None:
    """At once: the peer is told, and not waited for."""
    from vici.exception import CommandException

    try:
        # What it does is only done as its log is read.
        list(asked.terminate({"ike-id": session.number, "force": "yes", "timeout": "0"}))
    except CommandException:
        # It may have ended by itself meanwhile.
        if any(seen.number == session.number for seen in charon.associations(asked)):
            raise
    _end_flows(session)


def _end_flows(session: Association) -> None:
    """A user's address is the next one's."""
    own = {(address.version, int(address)) for address in map(ip_address, session.addresses)}
    if own:
        conntrack.end(
            [
                each
                for each in conntrack.connections()
                if (each.version, each.original.source) in own or (each.version, each.reply.source) in own
            ]
        )


def _change(kind: str, name: str, action: Action, act: Callable[["Session"], Any]) -> Change:
    shown = name.rpartition(MARK)[0] or name
    return Change(kind=kind, name=shown, action=action, run=lambda: _run(act))


def _run(act: Callable[["Session"], Any]) -> None:
    with charon.session() as told:
        if told is None:
            raise IpsecError("The IKE daemon doesn't run")
        # Imported already, by the session.
        from vici.exception import CommandException

        try:
            act(told)
        except CommandException as error:
            raise IpsecError(str(error)) from None


def _plain(value: Any) -> Any:
    """As the library takes it: dictionaries, lists and text."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value if isinstance(value, str) else list(value)


# --- digests and notes ------------------------------------------------------------------------------------


def _named(name: str, content: object, host: Host) -> str:
    return f"{name}{MARK}{_digest(content, host)}"


def _digest(content: object, host: Host) -> str:
    """Keyed, so that the name of a secret tells nobody what it is."""
    text = content if isinstance(content, str) else json.dumps(content, sort_keys=True)
    return hmac.new(_digest_key(host), text.encode(), hashlib.sha256).hexdigest()[:16]


def _digest_key(host: Host) -> bytes:
    """Of this boot, as what the daemon holds is."""
    kept = host.seen.get(_DIGEST_KEY)
    if kept is None:
        path = host.state / _DIGEST_KEY
        with suppress(FileNotFoundError):
            kept = path.read_bytes()
        if not kept:
            kept = secrets.token_bytes(32)
            disk.replace(path, kept, mode=0o600)
        host.seen[_DIGEST_KEY] = kept
    result: bytes = kept
    return result


def _note(host: Host, of: str, key: str, value: str | None) -> None:
    note: dict[str, dict[str, str]] = host.note(_NOTE) or {}
    kept = {name: item for name, item in note.get(of, {}).items() if name != key}
    if value is not None:
        kept[key] = value
    disk.write_json(host.state / _NOTE, {**note, of: kept})
