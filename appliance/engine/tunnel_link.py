"""Observe and change the links of IPsec tunnels: xfrm interfaces, where the kernel has them. Ours carry an
alias."""

import contextlib
from collections.abc import Iterator, Sequence
from functools import cache

from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.engine.rtnetlink import IPRoute, NetlinkError
from appliance.resources import TunnelLink

KIND = "TunnelLink"
SHARED_LINK = "ipsec0"
"""There is always one of this name: where the kernel has no xfrm interfaces, strongSwan has a TUN device."""
_MARK = "sysvm-tunnel:"
_PROBE = "sysvm-probe-if"
_PROBE_NUMBER = 2**31 - 1


def plan(wanted: Sequence[TunnelLink], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    links = {seen["name"]: seen for seen in host.links().values()}
    for link in wanted if wanted and available() else ():
        seen = links.get(link.name)
        mark = f"{_MARK}{link.number}"
        if seen is None or seen["alias"] != mark:
            yield Change(
                kind=KIND,
                name=link.name,
                action="create",
                run=lambda link=link: _make(link, host),  # type: ignore[misc]
            )
        elif seen["mtu"] != link.mtu or not seen["up"]:
            yield Change(
                kind=KIND,
                name=link.name,
                action="update",
                detail=f"up, mtu {link.mtu}",
                run=lambda link=link: _set_up(link, host),  # type: ignore[misc]
            )
    names = {link.name for link in wanted}
    for name, seen in sorted(links.items()):
        if seen["alias"].startswith(_MARK) and name not in names:
            yield Change(
                kind=KIND,
                name=name,
                action="delete",
                run=lambda name=name: host.ip.link("del", index=host.link_index(name)),  # type: ignore[misc]
            )


@cache
def available() -> bool:
    """Whether the kernel has xfrm interfaces, and so IPsec. Found out by making one."""
    with IPRoute() as ip:
        try:
            ip.link("add", ifname=_PROBE, kind="xfrm", xfrm_if_id=_PROBE_NUMBER)
        except (NetlinkError, OSError):
            return False
        with contextlib.suppress(NetlinkError):
            ip.link("del", index=ip.link_lookup(ifname=_PROBE)[0])
    return True


def _make(link: TunnelLink, host: Host) -> None:
    with contextlib.suppress(LookupError):
        host.ip.link("del", index=host.link_index(link.name))
    host.ip.link("add", ifname=link.name, kind="xfrm", xfrm_if_id=link.number)
    _set_up(link, host)


def _set_up(link: TunnelLink, host: Host) -> None:
    index = host.link_index(link.name)
    host.ip.link("set", index=index, mtu=link.mtu, ifalias=f"{_MARK}{link.number}")
    host.ip.link("set", index=index, state="up")
