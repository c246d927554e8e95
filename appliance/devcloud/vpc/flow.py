"""One flow, as whoever has it sees it: `python flow.py KIND ADDRESS PORT SECONDS INTERVAL [SOURCE]`.

KIND is tcp (one connection), udp, icmp, or http (a connection for each request, which is asked once more if
that broke). Prints JSON: when each message was sent and answered, by the clock that all processes of one
kernel share, and what broke the flow.
"""

import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

GRACE = 10.0
"""Seconds for which answers are waited for after the last message."""
_REQUEST_SECONDS = 3.0
_ECHO, _ECHO_REPLY = 8, 0


class Flow:
    def __init__(self) -> None:
        self.sent: list[float] = []
        self.answered: dict[int, float] = {}
        self.broken = ""

    def run(self, send: Callable[[int], None], seconds: float, interval: float) -> None:
        """Send numbered messages, one each `interval` seconds."""
        begun = time.monotonic()
        while (now := time.monotonic()) < begun + seconds and not self.broken:
            self.sent.append(now)
            try:
                send(len(self.sent) - 1)
            except OSError as error:
                self.ends(error)
            time.sleep(max(0.0, begun + len(self.sent) * interval - time.monotonic()))

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while len(self.answered) < len(self.sent) and time.monotonic() < deadline and not self.broken:
            time.sleep(0.02)

    def answer(self, number: int) -> None:
        self.answered.setdefault(number, time.monotonic())

    def ends(self, error: OSError) -> None:
        self.broken = self.broken or str(error)

    def lines(self, stream: socket.socket) -> None:
        try:
            for line in stream.makefile("rb"):
                self.answer(int(line))
            self.ends(ConnectionResetError("the far end closed the connection"))
        except OSError as error:
            self.ends(error)


def tcp(flow: Flow, place: tuple[str, int], source: str, seconds: float, interval: float) -> None:
    with socket.create_connection(place, timeout=5, source_address=(source, 0)) as stream:
        stream.settimeout(None)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=flow.lines, args=(stream,), daemon=True).start()
        flow.run(lambda number: stream.sendall(f"{number}\n".encode()), seconds, interval)
        flow.wait(GRACE)


def udp(flow: Flow, place: tuple[str, int], source: str, seconds: float, interval: float) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((source, 0))
        bound.connect(place)
        _datagrams(flow, bound, lambda content: int(content))
        flow.run(lambda number: _unless_refused(bound, f"{number}".encode()), seconds, interval)
        flow.wait(1.0)


def icmp(flow: Flow, place: tuple[str, int], source: str, seconds: float, interval: float) -> None:
    """Echo requests of one identifier (RFC 792)."""
    identifier = os.getpid() & 0xFFFF
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.bind((source, 0))
        raw.connect((place[0], 0))

        def number_of(packet: bytes) -> int:
            kind, _, _, of, number = struct.unpack_from("!BBHHH", packet, (packet[0] & 15) * 4)
            return int(number) if (kind, of) == (_ECHO_REPLY, identifier) else -1

        def send(number: int) -> None:
            head = struct.pack("!BBHHH", _ECHO, 0, 0, identifier, number)
            checksum = sum(struct.unpack("!4H", head))
            checksum = ~((checksum & 0xFFFF) + (checksum >> 16)) & 0xFFFF
            _unless_refused(raw, struct.pack("!BBHHH", _ECHO, 0, checksum, identifier, number))

        _datagrams(flow, raw, number_of)
        flow.run(send, seconds, interval)
        flow.wait(1.0)


def http(flow: Flow, place: tuple[str, int], source: str, seconds: float, interval: float) -> None:
    def ask(number: int) -> None:
        try:
            with socket.create_connection(
                place, timeout=_REQUEST_SECONDS, source_address=(source, 0)
            ) as stream:
                stream.sendall(b"GET / HTTP/1.1\r\nHost: www\r\nConnection: close\r\n\r\n")
                if stream.recv(4096).startswith(b"HTTP/1.1 200 "):
                    flow.answer(number)
        except OSError:
            pass

    def twice(number: int) -> None:
        ask(number)
        if number not in flow.answered:
            ask(number)

    flow.run(
        lambda number: threading.Thread(target=twice, args=(number,), daemon=True).start(), seconds, interval
    )
    flow.wait(GRACE)


def _unless_refused(bound: socket.socket, content: bytes) -> None:
    """An ICMP error for an earlier datagram is told to who sends the next one, and breaks nothing."""
    try:
        bound.send(content)
    except OSError:
        return


def _datagrams(flow: Flow, bound: socket.socket, number_of: Callable[[bytes], int]) -> None:
    def receive() -> None:
        while True:
            try:
                number = number_of(bound.recv(2048))
            except OSError:
                if bound.fileno() < 0:
                    return
                continue
            if number >= 0:
                flow.answer(number)

    threading.Thread(target=receive, daemon=True).start()


def main() -> None:
    kind, address, port, seconds, interval, *source = sys.argv[1:]
    flow = Flow()
    kinds = {"tcp": tcp, "udp": udp, "icmp": icmp, "http": http}
    try:
        kinds[kind](flow, (address, int(port)), source[0] if source else "", float(seconds), float(interval))
    except OSError as error:
        flow.ends(error)
    sent = [[at, flow.answered.get(number)] for number, at in enumerate(flow.sent)]
    print(json.dumps({"messages": sent, "broken": flow.broken}))


if __name__ == "__main__":
    main()
