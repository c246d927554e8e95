"""Observe and change network interfaces: find by MAC address, name, MTU, up. Ours carry an alias."""

from collections.abc import Iterator, Sequence
from typing import Any

from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import Link

KIND = "Link"
_MARK = "sysvm:"


def plan(wanted: Sequence[Link], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    links = host.links()
    by_mac = {link["mac"]: index for index, link in links.items() if link["name"] != "lo"}
    for link in wanted:
        index = by_mac.get(link.mac)
        if index is None:
            # A card may be plugged in later; until then the rest of the document has its effect.
            continue
        difference = _difference(link, links[index])
        if difference:
            yield Change(
                kind=KIND,
                name=link.name,
                action="update",
                detail=", ".join(difference),
                run=lambda link=link, index=index: _set(link, index, host),  # type: ignore[misc]
            )
    macs = {link.mac for link in wanted}
    for index, seen in links.items():
        if seen["alias"].startswith(_MARK) and seen["mac"] not in macs:
            yield Change(
                kind=KIND,
                name=seen["name"],
                action="delete",
                detail="set down and given up",
                run=lambda index=index: _release(index, host),  # type: ignore[misc]
            )


def expected(wanted: Sequence[Link], host: Host) -> frozenset[str]:
    """Names of all links once the wanted ones are named; those without a card are not among them."""
    seen = host.links().values()
    macs = {link["mac"] for link in seen}
    return frozenset(link["name"] for link in seen) | {link.name for link in wanted if link.mac in macs}


def _difference(link: Link, seen: dict[str, Any]) -> list[str]:
    difference = []
    if seen["name"] != link.name:
        difference.append(f"rename {seen['name']}")
    if seen["mtu"] != link.mtu:
        difference.append(f"mtu {link.mtu}")
    if not seen["up"]:
        difference.append("up")
    if seen["alias"] != _MARK + link.name:
        difference.append("mark as ours")
    return difference


def _set(link: Link, index: int, host: Host) -> None:
    links = host.links()
    for other, seen in links.items():
        if seen["name"] == link.name and other != index:
            # Two cards may have to swap names; the other gets its own in its turn.
            host.ip.link("set", index=other, state="down")
            host.ip.link("set", index=other, ifname=f"sysvm{other}")
    if links[index]["name"] != link.name:
        host.ip.link("set", index=index, state="down")
        host.ip.link("set", index=index, ifname=link.name)
    host.ip.link("set", index=index, mtu=link.mtu, ifalias=_MARK + link.name)
    host.ip.link("set", index=index, state="up")


def _release(index: int, host: Host) -> None:
    host.ip.link("set", index=index, state="down")
    host.ip.link("set", index=index, ifname=f"sysvm{index}", ifalias="")
