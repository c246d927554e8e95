"""What load balancers of udp do, asked of connection tracking: which flows there are to which server."""

from collections import Counter
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from appliance.datagrams import DatagramBalancer, DatagramServer
from appliance.engine import conntrack
from appliance.resources import Resource

_UDP = 17
_STATES = {"ready": "no check", "drain": "DRAIN", "maintenance": "MAINT"}
"""As HAProxy calls them of the other load balancers."""


def statistics(resources: Iterable[Resource]) -> dict[str, dict[str, Any]]:
    """By load balancer, as those of tcp are told: flows at the moment, of all and of each server."""
    balancers = [item for item in resources if isinstance(item, DatagramBalancer)]
    if not balancers:
        return {}
    # By where a flow was sent to, and who answers it.
    flows = Counter(
        (each.original.destination, each.original.port, each.reply.source, each.reply.source_port)
        for each in conntrack.connections()
        if each.protocol == _UDP
    )
    return {item.name: _told(item, flows) for item in balancers}


def _told(balancer: DatagramBalancer, flows: Counter[tuple[int, int, int, int]]) -> dict[str, Any]:
    place = int(ip_address(balancer.address)), balancer.port
    servers = {
        name: _server(server, flows[*place, int(ip_address(server.address)), server.port])
        for name, server in balancer.servers.items()
    }
    return {
        "status": "OPEN",
        "sessions": sum(server["sessions"] for server in servers.values()),
        "servers": servers,
    }


def _server(server: DatagramServer, sessions: int) -> dict[str, Any]:
    address = f"[{server.address}]" if ":" in server.address else server.address
    # One without weight gets no new flows.
    state = server.state if server.weight else "drain"
    return {
        "status": _STATES[state],
        "address": f"{address}:{server.port}",
        "backup": server.backup,
        "check": None,
        "weight": server.weight,
        "sessions": sessions,
    }
