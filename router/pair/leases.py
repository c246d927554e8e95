"""The primary's leases, told to the DHCP servers of the backup: dnsmasq reads its leases only as it starts,
so each is told by the packet that its guest would send."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance import dhcp

DIRECTORY = Path("/var/lib/sysvm/leases")
_AT_ONCE = 200
"""Differences settled in one go: the server writes all its leases for each."""
_SLACK = 30.0
"""Seconds that a lease may end sooner here."""


@dataclass(frozen=True, slots=True)
class Lease:
    ends: float
    """Seconds since the epoch; 0 is never."""
    mac: str
    client_id: str
    """Hexadecimal with colons, or `*`."""


def parsed(text: str) -> dict[str, Lease]:
    """By address, from the lines of dnsmasq's file: expiry, MAC address, address, name, client id."""
    found = {}
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) >= 5 and "." in fields[2] and fields[0].isdigit():
            found[fields[2]] = Lease(float(fields[0]), fields[1], fields[4])
    return found


def texts(links: Mapping[str, str]) -> dict[str, str]:
    """The files of these links."""
    return {link: _read(link) for link in links}


def adopt(theirs: Mapping[str, str], servers: Mapping[str, str], networks: Mapping[str, list[str]]) -> int:
    """Make our servers' leases as theirs are; how many differed. `servers` is our own address by link,
    `networks` the virtual addresses that a server may go by."""
    differences = 0
    for link, server in servers.items():
        if link not in theirs:
            continue
        wanted, have = parsed(theirs[link]), parsed(_read(link))
        now = time.time()
        for address, lease in wanted.items():
            if differences >= _AT_ONCE:
                return differences
            own = have.get(address)
            known = own is not None and (own.mac, own.client_id) == (lease.mac, lease.client_id)
            lasts = own is not None and (own.ends == 0 or (lease.ends and own.ends >= lease.ends - _SLACK))
            if (known and lasts) or 0 < lease.ends < now:
                continue
            if own is not None and not known:
                _withdraw(server, networks.get(link, []), address, own)
            dhcp.renew(server=server, mac=lease.mac, address=address, client_id=_identity(lease))
            differences += 1
        for address in have.keys() - wanted.keys():
            if differences >= _AT_ONCE:
                return differences
            _withdraw(server, networks.get(link, []), address, have[address])
            differences += 1
    return differences


def _withdraw(server: str, names: list[str], address: str, lease: Lease) -> None:
    dhcp.withdraw(
        server=server,
        identifiers=[server, *names],
        mac=lease.mac,
        address=address,
        client_id=_identity(lease),
    )


def _identity(lease: Lease) -> bytes:
    return b"" if lease.client_id == "*" else bytes.fromhex(lease.client_id.replace(":", ""))


def _read(link: str) -> str:
    try:
        return (DIRECTORY / link).read_text()
    except OSError:
        return ""
