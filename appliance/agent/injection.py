"""Let a packet come in by a link, as if its far end had sent it: by a device of ours whose packets tc(8)
hands to that link's receiving side. Nothing of it is on the wire."""

import contextlib
import errno
import json
import socket
import subprocess
from collections.abc import Iterator, Sequence

from appliance.agent.packet import Packet

LINK = "sysvm-explain"
_SECONDS = 10.0
_TYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
_NOBODY = "02:00:00:00:00:01"
"""A sender that nobody is, where the packet's isn't known."""


class InjectionError(Exception):
    """Why no packet could be let in; a sentence."""


@contextlib.contextmanager
def device(link: str, packet: Packet) -> Iterator[None]:
    """The device, for packets like this one to come in by `link`; gone in the end. Raises InjectionError."""
    _remove()
    try:
        _run("ip", "link", "add", LINK, "type", "ifb")
        # Without an address of its own it says nothing by itself.
        _run("ip", "link", "set", "dev", LINK, "addrgenmode", "none")
        _run("ip", "link", "set", "dev", LINK, "up")
        _run("tc", "qdisc", "add", "dev", LINK, "clsact")
        family, length = ("ip", 32) if packet.version == 4 else ("ip6", 128)
        # fmt: off
        _run(
            "tc", "filter", "add", "dev", LINK, "egress",
            "protocol", "ip" if packet.version == 4 else "ipv6", "prio", "1",
            "u32", "match", family, "src", f"{packet.source}/{length}",
            "action", "mirred", "ingress", "redirect", "dev", link,
        )
        # fmt: on
        yield
    finally:
        _remove()


def inject(link: str, content: bytes, *, version: int, sender: str | None) -> None:
    """`content` begins with its IP header; `sender` is a MAC address."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sending:
        sending.bind((LINK, 0))
        own = _mac(json.loads(_run("ip", "-json", "link", "show", "dev", link))[0].get("address", _NOBODY))
        try:
            sending.send(own + _mac(sender or _NOBODY) + _TYPES[version] + content)
        except OSError as error:
            # What the rules drop on the spot is told so to tc, too.
            if error.errno != errno.ENOBUFS:
                raise


def neighbour(address: str, link: str) -> str | None:
    """The MAC address that the kernel knows of a neighbour."""
    known = json.loads(_run("ip", "-json", "neighbour", "show", "to", address, "dev", link) or "[]")
    return next((item["lladdr"] for item in known if "lladdr" in item), None)


def link_towards(address: str) -> str | None:
    """The link by which packets to an address would leave; None where none leads there, or here."""
    try:
        found = json.loads(_run("ip", "-json", "route", "get", address) or "[{}]")[0]
    except InjectionError:
        return None
    return None if found.get("type") == "local" or found.get("dev") == "lo" else found.get("dev")


def route(packet: Packet, link: str, mark: int) -> str | None:
    """The route that leads a packet on that came by this link, as ip-route(8) writes it: `10.0.0.0/8 via
    192.0.2.1 dev public0`. None where the kernel can't tell."""
    where = ["from", packet.source, "iif", link, *(["mark", str(mark)] if mark else [])]
    try:
        answer = _run("ip", "-json", "route", "get", "fibmatch", packet.destination, *where)
        found = json.loads(answer)[0]
        via = f" via {found['gateway']}" if "gateway" in found else ""
        return f"{found['dst']}{via} dev {found['dev']}"
    except (InjectionError, ValueError, LookupError):
        return None


def _mac(text: str) -> bytes:
    with contextlib.suppress(ValueError):
        content = bytes.fromhex(text.replace(":", ""))
        if len(content) == 6:
            return content
    return bytes.fromhex(_NOBODY.replace(":", ""))


def _remove() -> None:
    with contextlib.suppress(InjectionError):
        _run("ip", "link", "delete", LINK)


def _run(*argv: str) -> str:
    words: Sequence[str] = argv
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InjectionError(f"{argv[0]} can't be asked: {error}") from None
    if done.returncode:
        raise InjectionError(f"{' '.join(argv[:3])}: {done.stderr.strip() or done.returncode}")
    return done.stdout
