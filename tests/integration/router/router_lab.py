"""A real router container between plain namespaces: guests, an internet and a management plane.

Sockets are made inside a namespace and then used from this process, so most clients cost no process.
"""

import contextlib
import ctypes
import http.client
import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.reversename
from router_peer import Server

from appliance.boot import ControlInterface
from appliance.devcloud import end
from appliance.management.authority import Authority, boot_json
from appliance.management.client import Agent
from appliance.model import merge_patch
from appliance.runtime import namespace
from appliance.runtime.container import Containers
from appliance.runtime.naming import full_name, state_directory
from appliance.runtime.runtime import Interface, Machine

ROUTER = "r1"
PAIR_SECRET = "correct horse battery staple"
CONTROL = "169.254.3.2"
MACS = {"guest0": "02:00:0a:01:01:01", "guest1": "02:00:0a:01:02:01", "public0": "02:00:cb:00:71:02",
        "control0": "02:00:a9:fe:03:02"}  # fmt: skip
GATEWAY = "203.0.113.1"
WEB, FAR = "198.51.100.80", "198.51.100.99"
UPSTREAMS = ("198.51.100.53", "198.51.100.54")
PUBLIC, FORWARDS, STATIC = "203.0.113.2", "203.0.113.3", "203.0.113.5"
_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_NETWORK = 0x40000000


@contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread in a network namespace: sockets made here belong to it for good."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if _LIBC.setns(there, _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), f"setns {name}")
        yield
    finally:
        _LIBC.setns(home, _NEW_NETWORK)
        os.close(home)
        os.close(there)


def until(true: Callable[[], Any], *, seconds: float = 10.0, pause: float = 0.05, what: str = "") -> Any:
    """What `true` returns once that is something; until then it may raise, or assert what isn't yet."""
    deadline, seen = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            if seen := true():
                return seen
        except (OSError, http.client.HTTPException, dns.exception.DNSException, AssertionError) as error:
            seen = error
        time.sleep(pause)
    raise AssertionError(f"not within {seconds:g} s: {what or true}; last: {seen!r}")


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: http.client.HTTPMessage

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Client:
    """A namespace with one card; `full` is the namespace's name."""

    name: str
    full: str
    mac: str = ""
    address: str = ""

    def socket(self, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET) -> socket.socket:
        with inside(self.full):
            made = socket.socket(family, kind)
        made.settimeout(1.0)
        return made

    def run(self, *argv: str, check: bool = True, timeout: float = 30.0) -> str:
        done = namespace.run(self.full, argv, timeout=timeout)
        if check and done.returncode:
            raise AssertionError(
                f"{self.name}: {' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def move(self, address: str, *, gateway: str) -> None:
        """Have this address instead of any other."""
        self.run("ip", "address", "flush", "dev", "eth0")
        self.run("ip", "address", "add", address, "dev", "eth0")
        self.run("ip", "route", "replace", "default", "via", gateway)

    def ask(
        self, address: str, port: int, *, udp: bool = False, source: str = "", seconds: float = 0.0
    ) -> str | None:
        """What a `Server` there says, "SERVER saw CLIENT"; None where nobody answers.

        Unless told otherwise it waits long enough for TCP to try a third time, on a machine that is busy.
        """
        seconds = seconds or (2.0 if udp else 6.0)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.socket(socket.SOCK_DGRAM if udp else socket.SOCK_STREAM, family) as asking:
            asking.settimeout(seconds)
            if source:
                asking.bind((source, 0))
            try:
                asking.connect((address, port))
                asking.send(b"?")
                return asking.recv(200).decode()
            except OSError:
                return None

    def refused(self, address: str, port: int, *, udp: bool = False, source: str = "") -> bool:
        """Whether nobody answers, asked with little patience."""
        return self.ask(address, port, udp=udp, source=source, seconds=0.4) is None

    def ping(self, address: str, *, seconds: float = 1.0) -> bool:
        argv = ["ping", "-n", "-c", "1", "-W", f"{seconds:g}", address]
        return namespace.run(self.full, argv, timeout=10).returncode == 0

    def dig(
        self, name: str, kind: str = "A", *, server: str, seconds: float = 2.0, tcp: bool = False
    ) -> list[str] | str:
        """Answers of the kind asked for, or the response code where there are none."""
        if kind == "PTR" and name[0].isdigit():
            name = dns.reversename.from_address(name).to_text()
        query = dns.message.make_query(name, kind)
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with self.socket(socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM, family) as asking:
            asking.settimeout(seconds if tcp else None)
            asking.connect((server, 53))
            asking.setblocking(False)
            ask = dns.query.tcp if tcp else dns.query.udp
            answer = ask(query, server, timeout=seconds, sock=asking)
        wanted = dns.rdatatype.from_text(kind)
        found = [item.to_text() for rrset in answer.answer for item in rrset if item.rdtype == wanted]
        return sorted(found) or dns.rcode.to_text(answer.rcode())

    def http(self, url_path: str, *, server: str, port: int = 80, headers: Mapping[str, str] = {}) -> Answer:
        with self.socket() as connected:
            connected.settimeout(5)
            connected.connect((server, port))
            connection = http.client.HTTPConnection(server, port)
            connection.sock = connected
            connection.request("GET", url_path, headers=dict(headers))
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(errors="replace"), response.headers)


class Plane(Agent):
    """The management plane's own client, connecting from its namespace."""

    def __init__(
        self, place: str, context: ssl.SSLContext, *, name: str = ROUTER, host: str = CONTROL
    ) -> None:
        super().__init__(name=name, host=host, context=context)
        self._place = place

    def _connect(self) -> http.client.HTTPConnection:
        with inside(self._place):
            return super()._connect()


@dataclass
class Lab:
    containers: Containers
    tree: Path
    directory: Path
    servers: list[Server] = field(default_factory=list)
    clients: dict[str, Client] = field(default_factory=dict)
    name: str = ROUTER
    control: str = CONTROL
    macs: Mapping[str, str] = field(default_factory=lambda: MACS)
    """The router's cards by segment."""
    pushed: dict[str, Any] = field(default_factory=dict)
    """The document that runs, with its secrets."""

    def __post_init__(self) -> None:
        self.authority = Authority.open(self.directory / "management")
        self.context = self.authority.client_context()
        self.state = state_directory(self.containers.cloud, self.name)

    @property
    def cloud(self) -> str:
        return self.containers.cloud

    # --- what there is --------------------------------------------------------------------------------

    def up(self) -> None:
        self.containers.switch.up(["guest0", "guest1", "public0", "control0"])
        self.client("mgmt", "control0", "02:00:a9:fe:03:01", "169.254.3.1/24")
        self.client("net", "public0", "02:00:cb:00:71:01", f"{GATEWAY}/24", local=(WEB, FAR, *UPSTREAMS))
        self.client("vm1", "guest0", "02:00:0a:01:01:0a", "10.1.1.10/24", gateway="10.1.1.1")
        self.client("vm2", "guest0", "02:00:0a:01:01:0b", "10.1.1.11/24", gateway="10.1.1.1")
        self.client("vm3", "guest1", "02:00:0a:01:02:0a", "10.1.2.10/24", gateway="10.1.2.1")
        self.start()

    def client(
        self, name: str, segment: str, mac: str, address: str = "", *,
        gateway: str = "", local: tuple[str, ...] = (),
    ) -> Client:  # fmt: skip
        """A namespace on a segment; without an address its card is only up."""
        assert name not in self.clients, f"{name} is somebody else's already"
        full = full_name(self.cloud, name)
        card = Interface(segment=segment, mac=mac)
        addresses = [address] if address else []
        end.up(self.cloud, name, interface=card, link="eth0", addresses=addresses, local=local)
        client = Client(name, full, mac, address.partition("/")[0])
        if gateway:
            client.run("ip", "route", "add", "default", "via", gateway)
        self.clients[name] = client
        return client

    def __getitem__(self, name: str) -> Client:
        return self.clients[name]

    def serve(self, client: str, port: int, *, udp: bool = False, version: int = 4) -> Server:
        """Have a server in a client's namespace that says who asked; one that is there stays."""
        place = self.clients[client]
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        for server in self.servers:
            if (server.place, server.port, server.udp, server.family) == (client, port, udp, family):
                return server
        listening = place.socket(socket.SOCK_DGRAM if udp else socket.SOCK_STREAM, family)
        if version == 6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server = Server(client, port, listening, udp=udp)
        self.servers.append(server)
        return server

    def start(self, *, wait: float | None = 60.0) -> None:
        """Power on; the state directory is what it was."""
        control = ControlInterface(mac=self.macs["control0"], address=f"{self.control}/24", gateway=None)
        boot = self.authority.boot(self.name, "router", control)
        cards = tuple(Interface(segment=name, mac=mac) for name, mac in self.macs.items())
        machine = Machine(
            name=self.name, image=self.tree, interfaces=cards, boot=boot_json(boot).encode(), keeps=True
        )
        self.containers.start(machine, wait=wait)

    def power_cut(self, *, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.containers.kill(self.name)
        meanwhile()
        self.start()

    def close(self) -> None:
        for server in self.servers:
            server.close()
        self.containers.clear()

    def works(self) -> bool:
        """Names, forwards and metadata are there for clients; else it raises."""
        assert self["vm1"].dig("vm2.a.example", server="10.1.1.1") == ["10.1.1.11"]
        assert self["net"].ask(FORWARDS, 8080) == "vm1:80 saw 203.0.113.1"
        path = "/latest/meta-data/instance-id"
        assert self["vm1"].http(path, server="10.1.1.1").text.strip() == "i-1"
        return True

    # --- the router -----------------------------------------------------------------------------------

    def run(self, *argv: str, check: bool = True, stdin: str | None = None) -> str:
        done = self.containers.run(self.name, argv, stdin=stdin, timeout=90)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def sh(self, script: str, *, check: bool = True) -> str:
        return self.run("sh", "-ec", script, check=check)

    def agent_process(self) -> str:
        """Its number; empty while it is between two lives."""
        return self.unit("sysvm-agent", "MainPID").removeprefix("0")

    def kill_agent(self) -> None:
        """SIGKILL, and wait until the next one answers."""
        process = until(self.agent_process, what="an agent to kill")
        self.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "sysvm-agent")
        until(lambda: self.agent_process() not in (process, ""), what="a new agent")
        self.ready()

    def unit(self, name: str, key: str) -> str:
        return self.run("systemctl", "show", "--value", "--property", key, name).strip()

    def agent(self) -> Plane:
        return Plane(self["mgmt"].full, self.context, name=self.name, host=self.control)

    def connect(self, context: ssl.SSLContext | None = None, *, client: str = "mgmt") -> ssl.SSLSocket:
        raw = self[client].socket()
        raw.settimeout(10)
        raw.connect((self.control, 8443))
        return (context or self.context).wrap_socket(raw, server_hostname=self.name)

    def request(
        self, method: str, path: str, body: Any = None, *,
        content_type: str = "application/json", seconds: float = 60.0, context: ssl.SSLContext | None = None,
    ) -> Answer:  # fmt: skip
        """One request on a connection of its own. Bytes are sent as they are, other bodies as JSON."""
        with self.connect(context) as connected:
            connected.settimeout(seconds)
            connection = http.client.HTTPConnection(self.name)
            connection.sock = connected
            content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            headers = {"Content-Type": content_type} if body is not None else {}
            # The answer to a body that isn't wanted may come before all of it is sent.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, content, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(errors="replace"), response.headers)

    def get(self, path: str) -> Any:
        answer = self.request("GET", path)
        assert answer.status == 200, answer
        return answer.json

    def put(self, document: Mapping[str, Any], *, status: int = 200, query: str = "") -> Any:
        """Push a document as the next generation."""
        generation = self.get("/v1/status")["generation"] + 1
        answer = self.request("PUT", f"/v1/config{query}", {**document, "generation": generation})
        assert answer.status == status, answer.text
        if status == 200:
            self.pushed = dict(document)
        return answer.json

    def patch(self, patch: Mapping[str, Any], *, status: int = 200, query: str = "") -> Any:
        answer = self.request(
            "PATCH", f"/v1/config{query}", patch, content_type="application/merge-patch+json"
        )
        assert answer.status == status, answer.text
        if status == 200:
            self.pushed = merge_patch(self.pushed, patch)
        return answer.json

    def status(self) -> Any:
        return self.get("/v1/status")

    def ready(self) -> Any:
        """The status once the API is there."""
        return until(self.status, seconds=30, what="the API answers")

    def settled(self, state: str = "converged", *, seconds: float = 60.0) -> Any:
        return until(lambda: (s := self.status())["state"] == state and s, seconds=seconds, what=state)

    def drift(self) -> list[dict[str, str]]:
        """What planning the running document again finds, secrets aside."""
        running = self.get("/v1/config")
        for network in running.get("metadata", {}).values():
            for guest in network.get("guests", {}).values():
                guest.pop("password", None)
        for section in ("certificates", "ipsec", "remote_access"):
            if section in running:
                running[section] = self.pushed[section]
        if "redundancy" in running:
            running["redundancy"]["secret"] = PAIR_SECRET
        running["generation"] += 1
        answer = self.request("POST", "/v1/plan", running)
        assert answer.status == 200, answer.text
        changes: list[dict[str, str]] = answer.json["changes"]
        return [change for change in changes if change["kind"] != "Password"]
