"""Users by L2TP: who is connected, and what passed."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from appliance.agent.usage import Totals
from appliance.agent.vpn.session import Session, State
from appliance.engine import l2tp
from appliance.resources import L2tpServer, Resource

TOTALS = l2tp.RUNTIME / "totals"
"""USER: bytes sent and received by sessions that have ended, since the boot."""
_LINKS = Path("/sys/class/net")
_PREFIX = "l2tp-"
Counted = tuple[int, int]
"""Bytes sent and received."""


class L2tp:
    """`resources` are what the machine was made to be."""

    def __init__(self, resources: Callable[[], Sequence[Resource]]) -> None:
        self._resources = resources
        self._most: dict[str, Counted] = {}
        """By user. Between the end of a session and its being added up it is in neither sum."""

    def sessions(self) -> list[Session]:
        """Of every user of the running document, connected or not."""
        servers = [item for item in self._resources() if isinstance(item, L2tpServer)]
        found = l2tp.sessions() if servers else []
        users = sorted(user for server in servers for user in server.users)
        return [session for user in users for session in self._of(user, found)]

    def read(self, before: Totals) -> Totals:
        """Bytes of each user since the boot: `l2tp-alice` -> `sent` -> `bytes`, as he sees it. Also of users
        who are in no document any more. Never less than `before`: what a session that was killed had counted
        by then is nowhere else."""
        found = l2tp.sessions()
        users = {one.user for one in found} | _summed()
        totals = {name: item for name, item in before.items() if name.startswith(_PREFIX)}
        for user in users:
            name = f"{_PREFIX}{user}"
            told = before.get(name, {})
            sent, received = self._total(user, [one for one in found if one.user == user])
            totals[name] = {
                direction: {"bytes": max(now, told.get(direction, {}).get("bytes", 0))}
                for direction, now in (("sent", received), ("received", sent))
            }
        return totals

    def _of(self, user: str, found: Sequence[l2tp.Session]) -> Iterator[Session]:
        """One for each of his machines; one that is down where there is none."""
        mine = [one for one in found if one.user == user]
        sent, received = self._total(user, mine)
        if not mine:
            state: State = "down" if l2tp.available() else "unsupported"
            yield Session(
                kind="l2tp", name=user, peer=user, state=state, sent_bytes=sent, received_bytes=received
            )
        for number, one in enumerate(mine):
            yield Session(
                kind="l2tp",
                name=user,
                peer=user,
                state="up",
                established_seconds=int(time.clock_gettime(time.CLOCK_BOOTTIME) - one.since),
                remote=one.remote,
                addresses=(one.address,),
                # What he sent and received in all is told once, with the first.
                sent_bytes=sent if number == 0 else 0,
                received_bytes=received if number == 0 else 0,
            )

    def _total(self, user: str, mine: Sequence[l2tp.Session]) -> Counted:
        counted = [_past(user), *(_counted(one.link) for one in mine)]
        most = self._most.get(user, (0, 0))
        sent = max(most[0], sum(each[0] for each in counted))
        received = max(most[1], sum(each[1] for each in counted))
        self._most[user] = sent, received
        return sent, received


def _summed() -> set[str]:
    """Users with sessions that have ended."""
    try:
        return {path.name for path in TOTALS.iterdir() if not path.name.startswith(".")}
    except FileNotFoundError:
        return set()


def _past(user: str) -> Counted:
    try:
        sent, received = (TOTALS / user).read_text().split()
        return int(sent), int(received)
    except (OSError, ValueError):
        return 0, 0


def _counted(link: str) -> Counted:
    statistics = _LINKS / link / "statistics"
    try:
        return int((statistics / "tx_bytes").read_text()), int((statistics / "rx_bytes").read_text())
    except (OSError, ValueError):
        return 0, 0
