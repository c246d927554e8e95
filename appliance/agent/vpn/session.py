"""A tunnel to a site, or a remote user: what the API and the metrics tell of it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["wireguard", "ipsec", "ikev2", "l2tp"]
State = Literal["up", "connecting", "down", "unsupported"]
"""`unsupported`: the kernel lacks what it takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    kind: Kind
    name: str
    """The tunnel's or the user's in the document."""
    peer: str
    """How the other side calls itself."""
    state: State
    established_seconds: int | None = None
    remote: str | None = None
    """The address that the other side comes from."""
    addresses: Sequence[str] = ()
    """What is behind it: a site's networks, a user's own addresses."""
    sent_bytes: int = 0
    received_bytes: int = 0

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "addresses": list(self.addresses)}


Sample = tuple[dict[str, str], float]


def up_samples(sessions: Sequence[Session]) -> list[Sample]:
    return [({"kind": item.kind, "name": item.name}, float(item.state == "up")) for item in sessions]


def byte_samples(sessions: Sequence[Session]) -> Iterator[Sample]:
    for item in sessions:
        for direction, value in (("sent", item.sent_bytes), ("received", item.received_bytes)):
            yield {"kind": item.kind, "name": item.name, "direction": direction}, value
