"""Tracked connections as the API tells them."""

from itertools import islice
from typing import Annotated, Any

from pydantic import Field

from appliance.address import IpAddress
from appliance.engine import conntrack
from appliance.engine.boxes import span
from appliance.engine.conntrack import Connection, Tuple
from appliance.model import Model

_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
_WITH_PORTS = (6, 17, 33, 132, 136)


class Listing(Model):
    guest: IpAddress | None = None
    """Only those that this address has an end of, as it sees itself: behind the translation."""
    limit: Annotated[int, Field(ge=1, le=100_000)] = 1000


def listing(asked: Listing) -> dict[str, Any]:
    """How many there are, and the first of them. Raises OSError."""
    address = span(asked.guest)[0] if asked.guest else None
    found = [
        each
        for each in conntrack.connections()
        if address is None or address in (each.original.source, each.reply.source)
    ]
    return {"total": len(found), "connections": [_shown(each) for each in islice(found, asked.limit)]}


def _shown(connection: Connection) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "protocol": _NAMES.get(connection.protocol, connection.protocol),
        "original": _direction(connection, connection.original),
        "reply": _direction(connection, connection.reply),
        "answered": connection.answered,
        "fast_path": connection.offloaded,
        "seconds_left": connection.seconds_left,
    }
    if connection.state:
        shown["state"] = connection.state
    if connection.bytes_sent is not None:
        shown["bytes"] = {"original": connection.bytes_sent, "reply": connection.bytes_received}
    return shown


def _direction(connection: Connection, ends: Tuple) -> dict[str, Any]:
    shown: dict[str, Any] = {"from": connection.text(ends.source), "to": connection.text(ends.destination)}
    if connection.protocol in _WITH_PORTS:
        shown |= {"source_port": ends.source_port, "port": ends.port}
    elif connection.protocol in (1, 58):
        shown["icmp_type"] = ends.icmp_type
    return shown
