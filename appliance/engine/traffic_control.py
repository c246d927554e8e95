"""HTB on links, its classes and what waits in them, by rtnetlink (linux/pkt_sched.h): ask, hear, change.

One netlink message is a class or its queue, and hundreds of them are sent at once. The kernel tells every
change to who listens, ours too; so what was observed once is kept up by what it tells, and thousands of
classes aren't listed anew because of one.
"""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.engine.nft import attributes
from appliance.shaping import QUEUES

_NEW_QDISC, _DELETE_QDISC, _GET_QDISC = 36, 37, 38
_NEW_CLASS, _DELETE_CLASS, _GET_CLASS = 40, 41, 42
_REQUEST, _ACKNOWLEDGE, _DUMP, _REPLACE, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x400
_ERROR, _DONE = 2, 3
_ROOT = 0xFFFFFFFF
_KIND, _OPTIONS = 1, 2
_GROUP = 1 << (4 - 1)  # RTNLGRP_TC
_LOOPBACK = 1
_HEADER = struct.Struct("=IHHII")
_TC = struct.Struct("=BBHiIII")  # tcmsg: family, padding, link, handle, parent, info
_PARMS = struct.Struct("=BBHhHIBBHhHIIIIII")  # tc_htb_opt: two tc_ratespec, buffers, quantum, level, prio
_HTB_PARMS, _HTB_INIT, _HTB_RATE64, _HTB_CEIL64 = 1, 2, 6, 7
_TARGET, _LIMIT, _INTERVAL, _FLOWS, _MEMORY = 1, 2, 3, 5, 9
_ETHERNET = 1
_TICK = 64
"""Nanoseconds (PSCHED_SHIFT)."""
_MOST = 0xFFFFFFFF
_QUANTUM = 16_384
"""Bytes by which those who borrow from one class take turns."""
_BATCH = 32_768
_ROOM = 1 << 20
_BUFFER = 1 << 23
_SECONDS = 10.0
_MANY_FLOWS = 64
"""Of one guest, that are told apart: the kernel's own 1024 take 100 KB for each guest."""


class Class(NamedTuple):
    """Rates in bytes per second, buffers in ticks of the kernel's."""

    parent: int
    """The number of another; 0: none."""
    rate: int
    ceiling: int
    buffer: int
    ceiling_buffer: int


class Leaf(NamedTuple):
    """What waits in a class: `limit` is in packets for fq_codel, in bytes for bfifo; `memory` in bytes,
    `target` in microseconds."""

    kind: str
    limit: int
    memory: int = 0
    target: int = 0

    def near(self, other: "Leaf | None") -> bool:
        """Whether they are alike; the kernel keeps times in a unit of its own."""
        return other is not None and self[:3] == other[:3] and abs(self.target - other.target) <= 2


@dataclass
class Seen:
    """By link index, then by the class's number."""

    roots: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Kind and handle of what a link has."""
    classes: dict[int, dict[int, Class]] = field(default_factory=dict)
    leaves: dict[int, dict[int, Leaf]] = field(default_factory=dict)

    def ours(self, link: int) -> bool:
        return self.roots.get(link) == ("htb", QUEUES << 16)


def ticks(burst: int, rate: int) -> int:
    return min(burst * 1_000_000_000 // rate // _TICK, _MOST)


class TrafficControl:
    def __init__(self) -> None:
        self._news = _socket()
        with contextlib.suppress(OSError):
            # SO_RCVBUFFORCE: past the limit for users.
            self._news.setsockopt(socket.SOL_SOCKET, 33, _BUFFER)
        self._news.bind((0, _GROUP))
        self._news.setblocking(False)

    def close(self) -> None:
        self._news.close()

    def kinds(self) -> frozenset[str]:
        """Of what queues are made of, what the kernel has. It says what it doesn't know before it looks at
        options that nobody could accept."""
        wrong = {"htb": b"", "fq_codel": _attribute(_OPTIONS, _attribute(_TARGET, b"\0"))}
        found = set()
        for kind, options in wrong.items():
            try:
                self.change([_message(_NEW_QDISC, _CREATE, _LOOPBACK, 0, _ROOT, _named(kind) + options)])
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.ERANGE):
                    found.add(kind)
        return frozenset(found)

    def observe(self) -> Seen:
        seen = Seen()
        for _ in self._told():
            pass
        for kind, content in _dump(_GET_QDISC, 0):
            _note(seen, kind, content)
        for link in [link for link in seen.roots if seen.ours(link)]:
            for kind, content in _dump(_GET_CLASS, link):
                _note(seen, kind, content)
        return seen

    def follow(self, seen: Seen) -> bool:
        """Change what was observed by what was told since; whether nothing of that was lost."""
        try:
            for kind, content in self._told():
                _note(seen, kind, content)
        except OSError:
            return False
        return True

    def _told(self) -> Iterator[tuple[int, bytes]]:
        lost: OSError | None = None
        while True:
            try:
                told = self._news.recv(_ROOM)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = error
                continue
            yield from _messages(told)
        if lost:
            raise lost

    def change(self, messages: Sequence[bytes]) -> None:
        """All of them, in this order. Raises OSError at the first that is refused."""
        with closing(_socket()) as asking:
            asking.bind((0, 0))
            place = 0
            while place < len(messages):
                batch, size = [], 0
                while place < len(messages) and size < _BATCH:
                    size += len(messages[place])
                    batch.append(messages[place])
                    place += 1
                last = bytearray(batch[-1])
                struct.pack_into("=H", last, 6, struct.unpack_from("=H", last, 6)[0] | _ACKNOWLEDGE)
                struct.pack_into("=I", last, 8, 1)
                asking.send(b"".join([*batch[:-1], bytes(last)]))
                _acknowledged(asking)


def _acknowledged(asking: socket.socket) -> None:
    """Refusals come by themselves, an acknowledgement only for the last."""
    while True:
        answer = asking.recv(_ROOM)
        offset = 0
        while offset + 16 <= len(answer):
            length, kind, _, sequence, _ = _HEADER.unpack_from(answer, offset)
            if kind == _ERROR:
                number = -struct.unpack_from("=i", answer, offset + 16)[0]
                if number:
                    raise OSError(number, f"The kernel's traffic control says no: {os.strerror(number)}")
                if sequence == 1:
                    return
            offset += (length + 3) & ~3


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    made.settimeout(_SECONDS)
    return made


def _dump(what: int, link: int) -> Iterator[tuple[int, bytes]]:
    with closing(_socket()) as asking:
        asking.bind((0, 0))
        asking.send(_message(what, _DUMP, link, 0, 0, b""))
        while True:
            for kind, content in _messages(asking.recv(_ROOM)):
                if kind in (_DONE, _ERROR):
                    return
                yield kind, content


def _messages(answer: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 16 <= len(answer):
        length, kind, _, _, _ = _HEADER.unpack_from(answer, offset)
        yield kind, answer[offset + 16 : offset + length]
        offset += (length + 3) & ~3


# --- what is told -------------------------------------------------------------------------------------


def _note(seen: Seen, told: int, content: bytes) -> None:
    if len(content) < _TC.size:
        return
    _, _, _, link, handle, parent, _ = _TC.unpack_from(content)
    if told in (_NEW_CLASS, _DELETE_CLASS):
        if handle >> 16 == QUEUES:
            _note_class(seen, told, link, handle & 0xFFFF, parent, content[_TC.size :])
    elif told in (_NEW_QDISC, _DELETE_QDISC):
        if parent == _ROOT:
            kind = _kind(content) if told == _NEW_QDISC else ""
            if seen.roots.get(link) != (kind, handle):
                seen.roots[link] = (kind, handle)
                seen.classes.pop(link, None)
                seen.leaves.pop(link, None)
        elif parent >> 16 == QUEUES:
            leaves = seen.leaves.setdefault(link, {})
            leaves.pop(parent & 0xFFFF, None)
            if told == _NEW_QDISC:
                leaves[parent & 0xFFFF] = _leaf(content)


def _note_class(seen: Seen, told: int, link: int, number: int, parent: int, content: bytes) -> None:
    if told == _DELETE_CLASS:
        seen.classes.get(link, {}).pop(number, None)
        seen.leaves.get(link, {}).pop(number, None)
        return
    options = attributes(attributes(content).get(_OPTIONS, b""))
    if len(options.get(_HTB_PARMS, b"")) < _PARMS.size:
        return
    parms = _PARMS.unpack_from(options[_HTB_PARMS])
    rate, ceiling = (
        int.from_bytes(options[wide], "little") if wide in options else parms[place]
        for wide, place in ((_HTB_RATE64, 5), (_HTB_CEIL64, 11))
    )
    above = 0 if parent == _ROOT else parent & 0xFFFF
    seen.classes.setdefault(link, {})[number] = Class(above, rate, ceiling, parms[12], parms[13])


def _kind(content: bytes) -> str:
    return attributes(content[_TC.size :]).get(_KIND, b"").rstrip(b"\0").decode()


def _leaf(content: bytes) -> Leaf:
    found = attributes(content[_TC.size :])
    kind, options = found.get(_KIND, b"").rstrip(b"\0").decode(), found.get(_OPTIONS, b"")
    if kind == "fq_codel":
        inner = {name: int.from_bytes(value, "little") for name, value in attributes(options).items()}
        return Leaf(kind, inner.get(_LIMIT, 0), inner.get(_MEMORY, 0), inner.get(_TARGET, 0))
    return Leaf(kind, int.from_bytes(options[:4], "little") if kind == "bfifo" else 0)


# --- what is sent -------------------------------------------------------------------------------------


def root(link: int) -> bytes:
    """Our HTB: what has no class leaves at once (default 0)."""
    options = _attribute(_HTB_INIT, struct.pack("=IIIII", 3, 10, 0, 0, 0))
    content = _named("htb") + _attribute(_OPTIONS, options)
    return _message(_NEW_QDISC, _CREATE | _REPLACE, link, QUEUES << 16, _ROOT, content)


def no_root(link: int) -> bytes:
    return _message(_DELETE_QDISC, 0, link, QUEUES << 16, _ROOT, b"")


def classified(link: int, number: int, one: Class) -> bytes:
    """A class that comes, or changes where it is."""
    rates = [
        field for rate in (one.rate, one.ceiling) for field in (0, _ETHERNET, 0, 0, 0, min(rate, _MOST))
    ]
    parms = _PARMS.pack(*rates, one.buffer, one.ceiling_buffer, _QUANTUM, 0, 0)
    options = _attribute(_HTB_PARMS, parms)
    for kind, rate in ((_HTB_RATE64, one.rate), (_HTB_CEIL64, one.ceiling)):
        if rate > _MOST:
            options += _attribute(kind, struct.pack("=Q", rate))
    content = _named("htb") + _attribute(_OPTIONS, options)
    return _message(_NEW_CLASS, _CREATE, link, _name(number), _name(one.parent), content)


def no_class(link: int, number: int) -> bytes:
    return _message(_DELETE_CLASS, 0, link, _name(number), 0, b"")


def leaf(link: int, number: int, one: Leaf, *, new: bool) -> bytes:
    """What waits in a class. How many flows are told apart can be said of a new one only."""
    if one.kind == "fq_codel":
        numbers = {_LIMIT: one.limit, _MEMORY: one.memory, _TARGET: one.target,
                   _INTERVAL: 100_000 + one.target, **({_FLOWS: _MANY_FLOWS} if new else {})}  # fmt: skip
        options = b"".join(_attribute(kind, struct.pack("=I", value)) for kind, value in numbers.items())
    else:
        options = struct.pack("=I", one.limit)
    content = _named(one.kind) + _attribute(_OPTIONS, options)
    return _message(_NEW_QDISC, _CREATE | _REPLACE, link, number << 16, _name(number), content)


def no_leaf(link: int, number: int) -> bytes:
    return _message(_DELETE_QDISC, 0, link, 0, _name(number), b"")


def _name(number: int) -> int:
    return QUEUES << 16 | number


def _named(kind: str) -> bytes:
    return _attribute(_KIND, kind.encode() + b"\0")


def _attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def _message(what: int, flags: int, link: int, handle: int, parent: int, content: bytes) -> bytes:
    header = _HEADER.pack(16 + _TC.size + len(content), what, _REQUEST | flags, 0, 0)
    return header + _TC.pack(0, 0, 0, link, handle, parent, 0) + content
