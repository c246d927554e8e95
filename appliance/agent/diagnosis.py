"""Questions to the network from where the router is: ping, traceroute, arping, a DNS look-up. All that
reaches a command is an address, a link's name or a number, and every one of them ends."""

import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import Field

from appliance.address import InterfaceName, IpAddress, Ipv4Address
from appliance.agent import injection
from appliance.model import Model

_AT_ONCE = threading.BoundedSemaphore(4)
_NAME = r"^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?){1,127}$"
_TIMES = re.compile(r"= ([0-9.]+)/([0-9.]+)/([0-9.]+)")
_COUNTS = re.compile(r"(\d+) packets transmitted, (\d+) (?:packets )?received")
_HOP = re.compile(r"^\s*(\d+)\s+(?:\*|([0-9a-f.:]+)\s+([0-9.]+) ms)")
_ARP, _ARP_SECONDS = 0x0806, 1.0


class DiagnosisError(ValueError):
    """A question that can't be asked; a sentence."""


class BusyError(Exception):
    """There are as many questions under way as there may be."""


class Ping(Model):
    target: IpAddress
    count: Annotated[int, Field(ge=1, le=20)] = 4
    size: Annotated[int, Field(ge=0, le=8972)] = 56
    """Bytes of payload."""
    link: InterfaceName | None = None


class Traceroute(Model):
    target: IpAddress
    hops: Annotated[int, Field(ge=1, le=30)] = 15
    link: InterfaceName | None = None


class Arping(Model):
    target: Ipv4Address
    count: Annotated[int, Field(ge=1, le=20)] = 3
    link: InterfaceName | None = None
    """Absent: that of the route to it."""


class Lookup(Model):
    name: Annotated[str, Field(pattern=_NAME, max_length=253)]
    type: Literal["A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"] = "A"
    server: IpAddress


KINDS: dict[str, type[Model]] = {"ping": Ping, "traceroute": Traceroute, "arping": Arping, "lookup": Lookup}


def ask(question: Model) -> dict[str, Any]:
    """Raises DiagnosisError and BusyError."""
    with _one_of_few():
        match question:
            case Ping():
                return _ping(question)
            case Traceroute():
                return _traceroute(question)
            case Arping():
                return _arping(question)
            case Lookup():
                return _lookup(question)
    raise TypeError(question)


@contextmanager
def _one_of_few() -> Iterator[None]:
    if not _AT_ONCE.acquire(blocking=False):
        raise BusyError("Four questions are under way already; ask again in a moment")
    try:
        yield
    finally:
        _AT_ONCE.release()


def _ping(asked: Ping) -> dict[str, Any]:
    argv = ["ping", "-n", "-c", str(asked.count), "-i", "0.2", "-W", "1", "-s", str(asked.size)]
    output = _run(*argv, *_by("-I", asked.link), "--", asked.target, seconds=0.2 * asked.count + 15)
    counts, times = _COUNTS.search(output), _TIMES.search(output)
    return {
        "sent": int(counts[1]) if counts else 0,
        "received": int(counts[2]) if counts else 0,
        "milliseconds": dict(zip(("min", "mean", "max"), map(float, times.groups()), strict=True))
        if times
        else None,
        "output": output,
    }


def _traceroute(asked: Traceroute) -> dict[str, Any]:
    argv = ["traceroute", "-n", "-q", "1", "-w", "1", "-N", "16", "-m", str(asked.hops)]
    output = _run(*argv, *_by("-i", asked.link), "--", asked.target, seconds=asked.hops + 15)
    hops = [
        {
            "hop": int(match[1]),
            "address": match[2],
            "milliseconds": float(match[3]) if match[3] else None,
        }
        for line in output.splitlines()
        if (match := _HOP.match(line))
    ]
    return {"reached": bool(hops) and hops[-1]["address"] == asked.target, "hops": hops, "output": output}


def _arping(asked: Arping) -> dict[str, Any]:
    link = asked.link or injection.link_towards(asked.target)
    if link is None:
        raise DiagnosisError(f"{asked.target} is the router's own, or nowhere it knows of")
    _check_link(link)
    replies = list(_arp_replies(asked, link))
    said = [f"{one['address']} is at {one['mac']}: {one['milliseconds']} ms" for one in replies]
    output = "\n".join([*said, f"{asked.count} asked on {link}, {len(replies)} answered"])
    return {"link": link, "replies": replies, "output": output}


def _arp_replies(asked: Arping, link: str) -> Iterator[dict[str, Any]]:
    """Answers to ARP probes (RFC 5227, section 2.1.1), which name no sender and so change nobody's cache.
    Debian's arping needs a file with privileges of its own, which images don't carry."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ARP)) as asking:
        asking.bind((link, _ARP))
        own = asking.getsockname()[4]
        target = socket.inet_aton(asked.target)
        probe = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + own + bytes(4) + bytes(6) + target
        for _ in range(asked.count):
            begun = time.monotonic()
            asking.send(b"\xff" * 6 + own + struct.pack("!H", _ARP) + probe)
            while (left := begun + _ARP_SECONDS - time.monotonic()) > 0:
                asking.settimeout(left)
                try:
                    frame = asking.recv(1500)
                except TimeoutError:
                    break
                if frame[20:22] == b"\0\2" and frame[28:32] == target:
                    milliseconds = round((time.monotonic() - begun) * 1000, 3)
                    yield {
                        "address": asked.target,
                        "mac": frame[22:28].hex(":"),
                        "milliseconds": milliseconds,
                    }
                    break


def _lookup(asked: Lookup) -> dict[str, Any]:
    # With the first look-up: it takes long to import.
    import dns.exception
    import dns.message
    import dns.query
    import dns.rcode

    begun = time.monotonic()
    try:
        query = dns.message.make_query(asked.name, asked.type)
        answer, by_tcp = dns.query.udp_with_fallback(query, asked.server, timeout=5.0)
    except (dns.exception.DNSException, OSError) as error:
        said = "no answer within 5 s" if isinstance(error, dns.exception.Timeout) else str(error)
        raise DiagnosisError(f"{asked.server} tells nothing of {asked.name}: {said}") from None
    return {
        "status": dns.rcode.to_text(answer.rcode()),
        "answers": [
            {
                "name": str(records.name),
                "type": record.rdtype.name,
                "seconds": records.ttl,
                "text": str(record),
            }
            for records in answer.answer
            for record in records
        ],
        "tcp": by_tcp,
        "milliseconds": round((time.monotonic() - begun) * 1000, 3),
    }


def _by(option: str, link: str | None) -> list[str]:
    if link is None:
        return []
    _check_link(link)
    return [option, link]


def _check_link(link: str) -> None:
    if link not in {name for _, name in socket.if_nameindex()}:
        raise DiagnosisError(f"There is no link {link}")


def _run(*argv: str, seconds: float) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=seconds)
    except subprocess.TimeoutExpired:
        raise DiagnosisError(f"{argv[0]} was not done within {seconds:g} s") from None
    except OSError as error:
        raise DiagnosisError(f"{argv[0]} can't be run: {error.strerror}") from None
    return done.stdout + done.stderr
