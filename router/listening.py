"""What the router itself serves, as elements of nft sets: its input chain lets in nothing else.

A connection from outside has met the firewall's ingress rules before, as one to a guest has; but what is
`open`, a tunnel's end, needs no rule there.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from router.elements import Elements, number_text

SETS = [
    f"{name}_{match}{version}"
    for name in ("listening", "open")
    for match in ("ports", "protocols")
    for version in (4, 6)
]


@dataclass(frozen=True, slots=True)
class Listener:
    address: str
    """The router's own, or a multicast group that it is a member of."""
    protocol: int
    """As IANA assigns them: 6 is TCP, 17 is UDP."""
    ports: tuple[int, int] | None = None
    """First and last; TCP and UDP have some, other protocols have none."""
    open: bool = False


_kept: list[tuple[tuple[Listener, ...], Elements]] = []
"""What was asked for last, and the answer: there may be thousands, and they are mostly the same."""


def elements(listeners: Iterable[Listener]) -> Elements:
    """Not to be changed."""
    asked = tuple(listeners)
    if not _kept or _kept[0][0] != asked:
        _kept[:] = [(asked, _elements(asked))]
    return _kept[0][1]


def _elements(listeners: Iterable[Listener]) -> Elements:
    found: Elements = {name: {} for name in SETS}
    for listener in listeners:
        version = 6 if ":" in listener.address else 4
        for name in ("listening", "open") if listener.open else ("listening",):
            if listener.ports is None:
                key = f"{listener.address} . {listener.protocol}"
                found[f"{name}_protocols{version}"][key] = None
            else:
                key = f"{number_text(*listener.ports)} . {listener.address} . {listener.protocol}"
                found[f"{name}_ports{version}"][key] = None
    return found
