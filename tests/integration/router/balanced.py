"""Servers behind load balancers, and what clients ask them: threads of the test's process with sockets in
guests' namespaces."""

import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from router_lab import Client, Lab

from tests.unit.router.pem import Identity


@dataclass
class Behaviour:
    """What a server does; a test changes it while it runs."""

    name: str
    status: int = 200
    """What it answers to /health."""
    cookies: list[str] = field(default_factory=list)
    proxied: bool = False
    """It expects the PROXY protocol, in the version that begins each connection."""
    seen: list[dict[str, Any]] = field(default_factory=list)


class Web(ThreadingHTTPServer):
    """Tells, as JSON, its name, whom it sees, and the request's headers."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, place: Client, port: int, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        super().__init__(("", port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = place.socket()
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("", port))
        self.server_activate()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # A client that went away is none of a server's business.

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Web
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.source = str(self.client_address[0])
        if self.server.behaviour.proxied:
            self.source = proxied_source(self.rfile)

    def do_GET(self) -> None:
        behaviour = self.server.behaviour
        status = behaviour.status if self.path.startswith("/health") else 200
        told = {
            "server": behaviour.name,
            "source": self.source,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
        }
        behaviour.seen.append(told)
        content = json.dumps(told).encode()
        self.send_response(status)
        for cookie in behaviour.cookies:
            self.send_header("Set-Cookie", cookie)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


def proxied_source(stream: Any) -> str:
    """The client's address in a PROXY protocol header, of either version."""
    beginning = stream.read(12)
    if beginning == b"\r\n\r\n\0\r\nQUIT\n":
        command, family, high, low = stream.read(4)
        block = stream.read(high << 8 | low)
        if command & 0xF == 0:
            return "local"
        size, kind = (4, socket.AF_INET) if family >> 4 == 1 else (16, socket.AF_INET6)
        return socket.inet_ntop(kind, block[:size])
    line = beginning + stream.readline()
    assert line.startswith(b"PROXY "), line
    return str(line.split(b" ")[2].decode()) if line.split(b" ")[1] != b"UNKNOWN" else "local"


class Held(threading.Thread):
    """A connection of its own through a load balancer to an echo server (`Server` of router_peer), which it
    uses all the time; `failed` says how it ended early."""

    def __init__(self, client: Client, address: str, port: int) -> None:
        super().__init__(daemon=True)
        self._socket = client.socket()
        self._socket.settimeout(5)
        self._socket.connect((address, port))
        self._ends = threading.Event()
        self.failed: str | None = None
        self.answers: Counter[str] = Counter()
        self.start()

    def run(self) -> None:
        try:
            while not self._ends.wait(0.01):
                self._socket.sendall(b"?")
                answer = self._socket.recv(200)
                if not answer:
                    raise ConnectionResetError("closed")
                self.answers[answer.decode()] += 1
        except OSError as error:
            self.failed = repr(error)

    def end(self) -> None:
        self._ends.set()
        self.join()
        self._socket.close()


def balancer(address: str, port: int, servers: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {"address": address, "port": port, "servers": dict(servers), **fields}


def opened(document: dict[str, Any], *ports: tuple[str, str, int]) -> dict[str, Any]:
    """The document with the firewall open for these (address, protocol, port)."""
    rules = document["firewall"]["ingress"]["rules"]
    for address, protocol, port in ports:
        rules[f"lb-{protocol}-{address.replace(':', '-')}-{port}"] = {
            "verdict": "accept",
            "address": address,
            "protocol": protocol,
            "ports": port,
        }
    return document


def certificate(identity: Identity, issuer: Identity | None = None) -> dict[str, str]:
    found = {"certificate": identity.certificate, "key": identity.key}
    return {**found, "chain": issuer.certificate} if issuer else found


def curl(client: Client, url: str, *options: str, check: bool = True) -> Any:
    """What a `Web` there tells; None where curl fails (and may)."""
    said = client.run("curl", "--silent", "--show-error", "--max-time", "4", *options, url, check=check)
    with contextlib.suppress(ValueError):
        return json.loads(said)
    return None


def spread(client: Client, url: str, count: int, *options: str) -> Counter[str]:
    """Which servers answer so many requests, each on a connection of its own."""
    told = [curl(client, url, *options) for _ in range(count)]
    assert None not in told, told
    return Counter(str(each["server"]) for each in told)


def haproxy(lab: Lab, command: str) -> str:
    """A command of the runtime API, by somebody else than the agent."""
    script = (
        "import socket,sys;s=socket.socket(socket.AF_UNIX);s.connect('/run/sysvm-haproxy/0/admin.sock');"
        "s.sendall(sys.argv[1].encode()+b'\\n');print(s.makefile().read())"
    )
    return lab.run("python3", "-c", script, command)


def worker(lab: Lab) -> str:
    """The process that serves new connections; another one after each reload."""
    return next(line for line in haproxy(lab, "show info").splitlines() if line.startswith("Pid:"))
