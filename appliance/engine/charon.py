"""strongSwan's IKE daemon, asked and told through vici, its own protocol (libcharon's vici README)."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vici import Session

SOCKET = "/run/sysvm-charon/vici.sock"
MARK = "#"
"""What we load is called NAME#DIGEST: so what the daemon lists says which version of it that is."""
_SECONDS = 10.0


@contextmanager
def session() -> Iterator["Session | None"]:
    """A connection to the daemon; None where it doesn't run."""
    # Imported late: few appliances have tunnels.
    from vici import Session

    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(_SECONDS)
        try:
            connected.connect(SOCKET)
        except (FileNotFoundError, ConnectionRefusedError):
            yield None
            return
        yield Session(connected)


@dataclass(frozen=True, slots=True)
class Association:
    """An IKE security association (IKE_SA), with the traffic of its children."""

    number: str
    """Unique among those of this run of the daemon."""
    connection: str
    """As it was loaded, NAME#DIGEST."""
    state: str
    """CREATED, CONNECTING, ESTABLISHED, REKEYING, DELETING, ..."""
    local_host: str
    remote_host: str
    remote_id: str
    user: str | None
    """The EAP identity, without the domain that Windows puts before it."""
    addresses: tuple[str, ...]
    """Virtual IP addresses that the peer was given."""
    established_seconds: int
    children: tuple["Child", ...]

    @property
    def name(self) -> str:
        return self.connection.partition(MARK)[0]


@dataclass(frozen=True, slots=True)
class Child:
    """A pair of ESP security associations (CHILD_SA)."""

    name: str
    number: str
    """Unique among those of this run of the daemon; another one after a change of keys."""
    index: str
    """The SPI of what comes in: taken by chance, so a daemon that was started anew has others."""
    state: str
    sent_bytes: int
    received_bytes: int
    remote: tuple[str, ...]
    """The networks there."""


def runs() -> bool:
    return Path(SOCKET).exists()


def associations(charon: "Session") -> list[Association]:
    return [_association(name, values) for listed in charon.list_sas() for name, values in listed.items()]


def _association(name: str, values: Mapping[str, Any]) -> Association:
    def text(key: str) -> str:
        return _text(values.get(key, b""))

    user = text("remote-eap-id") or None
    return Association(
        number=text("uniqueid"),
        connection=name,
        state=text("state"),
        local_host=text("local-host"),
        remote_host=text("remote-host"),
        remote_id=text("remote-id"),
        user=user.rpartition("\\")[2] if user else None,
        addresses=tuple(map(_text, values.get("remote-vips", ()))),
        established_seconds=int(text("established") or 0),
        children=tuple(map(_child, values.get("child-sas", {}).values())),
    )


def _child(values: Mapping[str, Any]) -> Child:
    return Child(
        name=_text(values["name"]),
        number=_text(values["uniqueid"]),
        index=_text(values.get("spi-in", b"")),
        state=_text(values["state"]),
        sent_bytes=int(values.get("bytes-out", 0)),
        received_bytes=int(values.get("bytes-in", 0)),
        remote=tuple(map(_text, values.get("remote-ts", ()))),
    )


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def listed(answer: Mapping[str, Any], key: str) -> list[str]:
    """The names in an answer to `get-conns`, `get-shared` or `get-keys`."""
    return [_text(value) for value in answer.get(key, ())]
