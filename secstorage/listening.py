"""What the appliance itself serves, as elements of nft sets: its input chain lets in nothing else."""

from collections.abc import Iterable
from dataclasses import dataclass

Elements = dict[str, dict[str, str | None]]


@dataclass(frozen=True, slots=True)
class Listener:
    address: str
    """The appliance's own."""
    protocol: int
    """As IANA assigns them: 6 is TCP."""
    port: int


def elements(listeners: Iterable[Listener]) -> Elements:
    found: Elements = {"listening_ports4": {}, "listening_ports6": {}}
    for listener in listeners:
        version = 6 if ":" in listener.address else 4
        key = f"{listener.port} . {listener.address} . {listener.protocol}"
        found[f"listening_ports{version}"][key] = None
    return found
