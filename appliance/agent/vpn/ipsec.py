"""IPsec tunnels and IKEv2 users: who is connected, what passed, and tunnels that are down begun again."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from appliance.agent.usage import Totals
from appliance.agent.vpn.addresses import Addresses
from appliance.agent.vpn.session import Session, State
from appliance.engine import charon, ipsec, l2tp
from appliance.engine.charon import MARK, Association
from appliance.engine.ipsec import supported
from appliance.resources import Connection, L2tpServer, Resource, SharedSecret

if TYPE_CHECKING:
    from vici import Session as Charon

log = logging.getLogger(__name__)
_INTERVAL = 5.0
_LOOK = 0.5
_LONGEST_WAIT = 60.0
"""Between two tries to begin what a peer refuses: it is asked less and less often."""
Counted = tuple[int, int]
"""Bytes sent and received."""
Wait = tuple[float, float]
"""Until when (of the monotonic clock), and how long that was."""


class Ipsec:
    """`resources` are what the machine was made to be; `heal` makes the machine as they want it."""

    def __init__(self, resources: Callable[[], Sequence[Resource]], heal: Callable[[], object]) -> None:
        self._resources, self._heal = resources, heal
        self._lock = threading.Lock()
        self._counted: dict[tuple[str, str], Counted] = {}
        """By the name of a connection or user, and the number of a pair of security associations."""
        self._past: dict[str, Counted] = {}
        """By name, of those that are gone."""
        self._addresses = Addresses()
        self._read: dict[str, Counted] = {}
        """What each pair of security associations has counted, by the name that `read` gives it; of those
        that are gone until it was told."""
        self._waits: dict[tuple[str, str], Wait] = {}
        """By connection, as it is loaded, and child."""

    def sessions(self) -> list[Session]:
        """Every tunnel and every user of the running document, connected or not."""
        connections, users = self._wanted()
        if not connections:
            return []
        with charon.session() as asked:
            found = charon.associations(asked) if asked is not None else []
        with self._lock:
            self._count(found)
            sites = (item for item in connections if not item.users)
            return [
                *(self._site(item, [one for one in found if one.name == item.name]) for item in sites),
                *(session for user in users for session in self._user(user, found)),
            ]

    def read(self, before: Totals) -> Totals:
        """Bytes of each pair of security associations since it came: `ipsec-office` or `ikev2-alice` ->
        `sent` -> `bytes`, as the other side sees it. Behind a space is which pair it is: each counts from 0.
        A daemon that doesn't answer is taken to have counted nothing since `before`."""
        found = None
        if charon.runs():
            with contextlib.suppress(OSError), charon.session() as asked:
                found = charon.associations(asked) if asked is not None else None
        return self._told(found, before)

    def _told(self, found: Sequence[Association] | None, before: Totals) -> Totals:
        with self._lock:
            if found is None:
                kept = {name: item for name, item in before.items() if name.startswith(("ipsec-", "ikev2-"))}
            else:
                self._count(found)
                kept = {}
            told = self._read
            self._read = {} if found is None else _counted(found)
        return kept | {
            name: {"sent": {"bytes": received}, "received": {"bytes": sent}}
            for name, (sent, received) in told.items()
        }

    def watch(self) -> None:
        """Forever: begin tunnels that are down, and have a daemon that was started anew told everything."""
        while True:
            self._wait()
            try:
                self.refresh()
            except Exception:
                log.exception("Looking after IPsec tunnels failed")

    def _wait(self) -> None:
        """Until the next look around; for a router of a pair that is when an address comes or goes, or the
        document has changed, too."""
        if not self._follows():
            time.sleep(_INTERVAL)
            return
        looked_at = self._resources()
        deadline = time.monotonic() + _INTERVAL
        while (left := deadline - time.monotonic()) > 0:
            if self._addresses.changed(min(left, _LOOK)):
                # As the primary again: whom it couldn't begin with before it may now.
                self._waits.clear()
                return
            if self._resources() is not looked_at:
                return

    def _follows(self) -> bool:
        return any(isinstance(item, Connection) and item.follows for item in self._resources())

    def refresh(self) -> None:
        connections, _ = self._wanted()
        if not connections:
            return
        with charon.session() as asked:
            if asked is not None:
                loaded = {
                    name.partition(MARK)[0]: name for name in charon.listed(asked.get_conns(), "conns")
                }
                found = charon.associations(asked)
                with self._lock:
                    self._count(found)
                own = self._addresses.now() if self._follows() else None
                found = [one for one in found if not self._ended(asked, one, connections, own)]
                self._end_l2tp(own)
                for connection in connections:
                    if connection.initiate and connection.name in loaded and _is_here(connection, own):
                        self._initiate(asked, connection, loaded[connection.name], found)
                if all(item.name in loaded for item in connections if supported(item)):
                    return
        self._heal()

    def _initiate(
        self, asked: "Charon", connection: Connection, loaded: str, found: Sequence[Association]
    ) -> None:
        """What isn't there of a connection and isn't about to be; the daemon answers before it tries."""
        mine = [one for one in found if one.connection == loaded]
        if any(one.state != "ESTABLISHED" for one in mine):
            return
        there = {child.name for one in mine for child in one.children}
        children = connection.settings["children"]
        now = time.monotonic()
        for child in children if isinstance(children, dict) else ():
            until, waited = self._waits.get((loaded, child), (0.0, 0.0))
            if child in there:
                self._waits.pop((loaded, child), None)
            elif now >= until:
                wait = min(max(2 * waited, _INTERVAL), _LONGEST_WAIT)
                self._waits[loaded, child] = (now + wait, wait)
                log.info("Connection %s: beginning %s", connection.name, child)
                # What it does is only done as its log is read.
                list(asked.initiate({"child": child, "ike": loaded, "timeout": "-1"}))

    def _ended(
        self,
        asked: "Charon",
        one: Association,
        connections: Sequence[Connection],
        own: AbstractSet[str] | None,
    ) -> bool:
        """Whether a session was the other router's to go on with, and is ended here: without a word to its
        peer, for what has no address says nothing."""
        follows = any(item.follows for item in connections if item.name == one.name)
        if own is None or not follows or one.local_host in own:
            return False
        log.info("Connection %s: its address is another router's now", one.name)
        ipsec.terminate(one, asked)
        return True

    def _end_l2tp(self, own: AbstractSet[str] | None) -> None:
        """Users' sessions whose address is the other router's now: they begin anew there."""
        for server in self._resources():
            if isinstance(server, L2tpServer) and server.follows and server.address not in (own or ()):
                for session in l2tp.sessions():
                    log.info("L2TP: the session of %s is another router's to go on with", session.user)
                    l2tp.end(session)

    def _wanted(self) -> tuple[list[Connection], list[str]]:
        resources = self._resources()
        connections = [item for item in resources if isinstance(item, Connection)]
        users = [item.name for item in resources if isinstance(item, SharedSecret) and item.kind == "EAP"]
        return connections, users

    def _site(self, connection: Connection, found: Sequence[Association]) -> Session:
        remote = connection.settings["remote-1"]
        peer = str(remote["id"]) if isinstance(remote, dict) else ""
        up = [one for one in found if one.state == "ESTABLISHED" and one.children]
        newest = max(up or found, key=lambda one: int(one.number), default=None)
        sent, received = self._total(connection.name)
        networks = (net for one in up for child in one.children for net in child.remote)
        return Session(
            kind="ipsec",
            name=connection.name,
            peer=newest.remote_id if up and newest else peer,
            state=_state(connection, up=bool(up), begun=bool(found)),
            established_seconds=newest.established_seconds if up and newest else None,
            remote=newest.remote_host if newest else None,
            addresses=tuple(dict.fromkeys(networks)),
            sent_bytes=sent,
            received_bytes=received,
        )

    def _user(self, user: str, found: Sequence[Association]) -> Iterator[Session]:
        """One for each of his machines; one that is down where there is none."""
        mine = [one for one in found if one.user == user and one.state == "ESTABLISHED"]
        if not mine:
            sent, received = self._total(user)
            yield Session(
                kind="ikev2", name=user, peer=user, state="down", sent_bytes=sent, received_bytes=received
            )
        for number, one in enumerate(mine):
            # What he sent and received in all is told once, with the first.
            sent, received = self._total(user) if number == 0 else (0, 0)
            yield Session(
                kind="ikev2",
                name=user,
                peer=one.remote_id,
                state="up",
                established_seconds=one.established_seconds,
                remote=one.remote_host,
                addresses=one.addresses,
                sent_bytes=sent,
                received_bytes=received,
            )

    def _count(self, found: Sequence[Association]) -> None:
        seen = {
            (one.user or one.name, child.number): (child.sent_bytes, child.received_bytes)
            for one in found
            for child in one.children
        }
        for key, (sent, received) in self._counted.items():
            now = seen.get(key)
            if now is None or now[0] < sent or now[1] < received:
                # Gone, or another one of that number: the daemon was started anew.
                past = self._past.get(key[0], (0, 0))
                self._past[key[0]] = (past[0] + sent, past[1] + received)
        self._counted = seen
        self._read |= _counted(found)

    def _total(self, name: str) -> Counted:
        """Since the agent began to count; the last moments before a change of keys are missed."""
        mine = [counted for (of, _), counted in self._counted.items() if of == name]
        mine.append(self._past.get(name, (0, 0)))
        return sum(sent for sent, _ in mine), sum(received for _, received in mine)


def _is_here(connection: Connection, own: AbstractSet[str] | None) -> bool:
    if own is None or not connection.follows:
        return True
    return any(address in own for address in connection.settings["local_addrs"])


def _counted(found: Sequence[Association]) -> dict[str, Counted]:
    return {
        f"{f'ikev2-{one.user}' if one.user else f'ipsec-{one.name}'} {child.number} {child.index}": (
            child.sent_bytes,
            child.received_bytes,
        )
        for one in found
        # What users by L2TP have in common is told of each of them: see l2tp.
        if one.user or not one.name.startswith("@")
        for child in one.children
    }


def _state(connection: Connection, *, up: bool, begun: bool) -> State:
    if up:
        return "up"
    if not supported(connection):
        return "unsupported"
    return "connecting" if begun else "down"
