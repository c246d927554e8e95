"""One connection: bytes in, answers out, and no more patience or memory than its guest is due."""

import asyncio
import socket
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from router.metadata_server.answers import Door
from router.metadata_server.network import Network
from router.metadata_server.records import Guest
from router.metadata_server.request import Refusal, Request, parse
from router.metadata_server.response import Response, encode

if TYPE_CHECKING:
    from router.metadata_server.server import MetadataServer

HEAD_SECONDS = 5.0
"""From a request's first byte, or the connection's start, to its last byte."""
IDLE_SECONDS = 20.0
"""Between requests."""
SEND_SECONDS = 30.0
"""Without the client taking any of its answer."""
_NEIGHBOUR_SECONDS = 1.0

_SLICE = 131_072
_KEPT_REQUEST, _KEPT_ANSWER, _KEPT_ANSWERS = 512, 4096, 16
"""Bytes, bytes, and number of the answers that are kept per guest and address."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A response, and what may be done with it."""

    response: Response
    kind: str = "none"
    """The protocol that it counts for."""
    guest: Guest | None = None
    """The record that it was made from: it may be kept with it, and goes with it. (Not with the record
    that is there a moment later: that may be another.)"""
    until: float = 0.0
    """The monotonic time until which it may be repeated."""


class Connection(asyncio.BufferedProtocol):
    # Not asyncio.Protocol: that allocates 256 KiB for every read, which malloc may take from the system
    # and give back each time. That alone costs as much as everything we do.
    _transport: asyncio.Transport

    def __init__(self, server: "MetadataServer", network: Network | None, door: Door) -> None:
        self.network = network
        self.deadline = 0.0
        """Monotonic time at which the server ends the connection, unless something happens."""
        self.address = ""
        self.mac: str | None = None
        self.door = door
        self._server = server
        self._counts = server.counts
        self._buffer = server.buffer
        # Passwords and health are never answered from memory.
        self._lane = {Door.GATEWAY: 0, Door.LINK_LOCAL: 1}.get(door, -1)
        self._mac_until = 0.0
        self._admitted: str | None = None
        self._received = bytearray()
        self._rest = memoryview(b"")
        self._paused = False
        self._waiting = False
        self._ending = False
        self._deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport
        self.deadline = monotonic() + HEAD_SECONDS
        if self.network is not None:
            self.address = transport.get_extra_info("peername")[0]
            known = self.guest(monotonic()) is not None
            self._admitted = self.network.admit(self.address, known=known)
        if not self._server.admit(self) or (self.network is not None and self._admitted is None):
            self._counts["refused too_many_connections"] += 1
            self._deaf = True
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._rest = memoryview(b"")
        if self.network is not None and self._admitted is not None:
            self.network.release(self._admitted)
            self._admitted = None

    def guest(self, now: float) -> Guest | None:
        """Who is at the other end: the record with the source address in this interface's network, if
        the kernel reaches that address at the record's MAC address."""
        network = self.network
        if network is None:
            return None
        if now >= self._mac_until:
            self.mac = self._server.neighbours.mac(network.ifindex, self.address)
            self._mac_until = now + _NEIGHBOUR_SECONDS if self.mac else 0.0
        guest = network.records.guest(self.address)
        return guest if guest is not None and guest.record.mac == self.mac else None

    def get_buffer(self, sizehint: int) -> memoryview:
        # One for all connections: what was read is taken out before anybody else reads.
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        now = monotonic()
        if self._deaf or self._waiting:
            # The answer that is waited for is the connection's last: nothing more is understood, nor kept.
            return
        data = bytes(self._buffer[:nbytes])
        fresh = not self._received
        if fresh and self._lane >= 0 and not (self._paused or self._ending):
            guest = self.guest(now)
            if guest is not None:
                answer = guest.answers[self._lane].get(data)
                if answer is not None and now < answer[0]:
                    self.deadline = now + IDLE_SECONDS
                    self._counts[answer[2]] += 1
                    self._transport.write(answer[1])
                    return
        self._received += data
        if fresh:
            self.deadline = now + HEAD_SECONDS
        self._work()

    def _work(self) -> None:
        while self._received and not (self._paused or self._waiting or self._ending):
            parsed = parse(self._received)
            if parsed is None:
                return
            request, used = parsed
            raw = bytes(self._received[:used])
            alone = used == len(self._received)
            del self._received[:used]
            now = monotonic()
            self.deadline = now + (IDLE_SECONDS if alone else HEAD_SECONDS)
            if isinstance(request, Refusal):
                self._counts["refused malformed"] += 1
                self.send(Response(request.status), kind="none", request=None)
            else:
                self._answer(request, raw, alone=alone, now=now)

    def _answer(self, request: Request, raw: bytes, *, alone: bool, now: float) -> None:
        answered = self._server.answer(self, request, now)
        if answered is None:
            self._waiting = True
            return
        sent = self.send(answered.response, kind=answered.kind, request=request)
        if not alone or answered.guest is None or answered.until <= now or sent is None:
            return
        if len(raw) <= _KEPT_REQUEST and len(sent) <= _KEPT_ANSWER:
            answers = answered.guest.answers[self._lane]
            if len(answers) >= _KEPT_ANSWERS:
                answers.clear()
            answers[raw] = answered.until, sent, f"{answered.kind} {answered.response.status}"

    def send(self, response: Response, *, kind: str, request: Request | None) -> bytes | None:
        """Send an answer, and return its bytes if the connection goes on. Without a request, it was a
        refusal, and what follows is not to be understood as requests."""
        self._waiting = False
        self._counts[f"{kind} {response.status}"] += 1
        keep = request is not None and request.keep_alive and self.door is not Door.PASSWORD
        keep = keep and (self.network is None or self.mac is not None) and not self._server.stranger(self)
        encoded = encode(
            response,
            keep_alive=keep,
            minor=1 if request is None else request.minor,
            head=request is not None and request.method == "HEAD",
        )
        self._ending = not keep
        # A big answer goes out as the client takes it, rather than into the transport's buffer as a copy.
        self._rest = memoryview(encoded)
        self._continue()
        return encoded if keep else None

    def hop_limit(self, hops: int) -> None:
        """What is sent from now on gets no further than this many routers less one (IP TTL)."""
        peer: socket.socket = self._transport.get_extra_info("socket")
        peer.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)

    def _continue(self) -> None:
        while self._rest and not self._paused:
            piece, self._rest = self._rest[:_SLICE], self._rest[_SLICE:]
            self._transport.write(piece)
        if self._ending and not self._rest and not self._deaf:
            # Closing while there is something unread would reset the connection, and the answer with it:
            # say that we are done, and let the client be the first to close.
            self._deaf = True
            self._received.clear()
            self.deadline = monotonic() + 1.0
            self._transport.write_eof()

    def pause_writing(self) -> None:
        self._paused = True
        self.deadline = monotonic() + SEND_SECONDS
        # Whoever doesn't read its answers needn't ask for more.
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        self.deadline = monotonic() + SEND_SECONDS
        self._continue()
        if not self._paused:
            self._transport.resume_reading()
            self.deadline = monotonic() + (HEAD_SECONDS if self._received else IDLE_SECONDS)
            self._work()

    def eof_received(self) -> bool:
        # A client may close its half and still wait for its answer.
        return bool(self._rest) or self._waiting

    def expire(self) -> None:
        """End a connection that used up its time."""
        if not self._deaf:
            self._counts["refused timeout"] += 1
        self.abort()

    def abort(self) -> None:
        self._transport.abort()
