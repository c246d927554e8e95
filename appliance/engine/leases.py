"""Observe and change leases: an address that is reserved now may still be leased to its last holder.

dnsmasq wouldn't give it to the new one before that lease ends, so it is released in the old one's name. This
is the last step of all: it needs the server to run, with the new reservations.
"""

import ipaddress
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance import dhcp
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import Leases

KIND = "Leases"
_SECONDS = 3.0


class LeaseError(Exception):
    """A lease that its server didn't let go."""


def plan(wanted: Sequence[Leases], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    for leases in wanted:
        if leases.virtual and not dhcp.is_own(leases.server):
            continue
        for address, mac in _held(leases.path):
            holder = leases.holders.get(address, mac)
            if holder != mac:
                yield Change(
                    kind=KIND,
                    name=f"{address} on {leases.link}",
                    action="delete",
                    detail=f"held by {mac}, reserved for {holder}",
                    run=lambda leases=leases, address=address, mac=mac: _release(leases, address, mac),  # type: ignore[misc]
                )


def _held(path: str) -> list[tuple[str, str]]:
    """Address and MAC address of each lease in dnsmasq's file: expiry, MAC, address, name, client id."""
    try:
        lines = Path(path).read_text().splitlines()
    except FileNotFoundError:
        return []
    fields = (line.split(" ") for line in lines)
    return [(field[2], field[1]) for field in fields if len(field) >= 4 and "." in field[2]]


def _server(leases: Leases, address: str) -> str:
    """What the server goes by where this address is."""
    at = ipaddress.ip_address(address)
    here = (server for network, server in leases.further if at in ipaddress.ip_network(network))
    return next(here, leases.server)


def _release(leases: Leases, address: str, mac: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        dhcp.release(server=_server(leases, address), mac=mac, address=address)
        time.sleep(0.01)
        if (address, mac) not in _held(leases.path):
            return
        if time.monotonic() > deadline:
            raise LeaseError(f"The DHCP server on {leases.link} keeps leasing {address} to {mac}")
        time.sleep(0.1)
