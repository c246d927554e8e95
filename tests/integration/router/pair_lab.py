"""Two router containers that are a redundant pair, with guests, an internet and a management plane."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import router_document
from router_lab import (
    FAR,
    FORWARDS,
    GATEWAY,
    PAIR_SECRET,
    STATIC,
    UPSTREAMS,
    WEB,
    Client,
    Lab,
    inside,
    until,
)

from appliance.runtime import namespace
from appliance.runtime.container import Containers
from appliance.runtime.naming import full_name
from appliance.runtime.segment import port_name

SEGMENTS = ("guest0", "guest1", "public0", "sync0", "control0")
CONTROLS = {"r1": "169.254.3.2", "r2": "169.254.3.3"}


def macs(name: str) -> dict[str, str]:
    return {link: f"02:00:00:0{name[1]}:00:{number:02x}" for number, link in enumerate(SEGMENTS, 1)}


def document(name: str, **redundancy: Any) -> dict[str, Any]:
    """What the two have in common, and what is this one's own."""
    value = deepcopy(router_document.document())
    side = int(name[1])
    value["name"] = name
    del value["interfaces"]["guest1"]
    for section in ("dhcp", "dns", "source_nat"):
        del value[section]["guest1"]
    del value["firewall"]["egress"]["guest1"]
    value["interfaces"]["guest0"]["addresses"].append("fd00:1::1/64")
    value["interfaces"]["sync0"] = {}
    for link, interface in value["interfaces"].items():
        interface["mac"] = macs(name)[link]
    value["redundancy"] = {
        "priority": 12 - side,
        "virtual_router_id": 51,
        "peer": f"r{3 - side}",
        "secret": PAIR_SECRET,
        "sync": "sync0",
        "paths": {"sync0": {"address": f"169.254.4.{side}/30", "peer": f"169.254.4.{3 - side}"}},
        **redundancy,
    }
    rules = value["firewall"]["ingress"]["rules"]
    rules["web"]["ports"] = "8000-8100"
    rules["udp"] = {"verdict": "accept", "address": FORWARDS, "protocol": "udp", "ports": "8000-8100"}
    rules["static-udp"] = {"verdict": "accept", "address": STATIC, "protocol": "udp", "ports": 80}
    value["port_forwards"]["dns"] = {
        "address": FORWARDS, "protocol": "udp", "ports": 8081, "target": "10.1.1.10", "target_ports": 81,
    }  # fmt: skip
    return value


@dataclass
class PairLab:
    containers: Containers
    tree: Path
    directory: Path
    clients: dict[str, Client] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.routers = {
            name: Lab(self.containers, self.tree, self.directory, clients=self.clients, name=name,
                      control=address, macs=macs(name))
            for name, address in CONTROLS.items()
        }  # fmt: skip

    def __getitem__(self, name: str) -> Client:
        return self.clients[name]

    def up(self) -> None:
        self.containers.switch.up(list(SEGMENTS))
        one = self.routers["r1"]
        one.client("mgmt", "control0", "02:00:a9:fe:03:01", "169.254.3.1/24")
        one.client("net", "public0", "02:00:cb:00:71:01", f"{GATEWAY}/24", local=(WEB, FAR, *UPSTREAMS))
        one.client("vm1", "guest0", "02:00:0a:01:01:0a", "10.1.1.10/24", gateway="10.1.1.1")
        one.client("vm2", "guest0", "02:00:0a:01:01:0b", "10.1.1.11/24", gateway="10.1.1.1")
        for router in self.routers.values():
            router.start(wait=None)
        for router in self.routers.values():
            router.ready()

    def close(self) -> None:
        self.containers.clear()

    # --- both of them --------------------------------------------------------------------------------------

    def put(self, make: Callable[[str], dict[str, Any]] = document) -> None:
        """To the backup first, as the management plane does."""
        order = sorted(self.routers, key=lambda name: self.state(name) == "primary")
        for name in order:
            self.routers[name].put(make(name))

    def redundancy(self, name: str) -> Any:
        return self.routers[name].status().get("redundancy", {"state": "none"})

    def state(self, name: str) -> str:
        return str(self.redundancy(name)["state"])

    def primary(self) -> str:
        found = [name for name in self.routers if self.state(name) == "primary"]
        assert len(found) == 1, found
        return found[0]

    def backup(self) -> str:
        return other(self.primary())

    def settled(self, *, seconds: float = 20.0) -> str:
        """The primary, once there is one, and the other is its backup and heard."""

        def found() -> str:
            primary = self.primary()
            assert self.state(other(primary)) == "backup"
            assert self.redundancy(primary)["peer"]["state"] == "backup"
            assert self.redundancy(other(primary))["peer"]["state"] == "primary"
            return primary

        return str(until(found, seconds=seconds, what="one primary and one backup"))

    def changes(self) -> dict[str, int]:
        """How often each has changed its state."""
        return {name: self.redundancy(name)["changes"] for name in self.routers}

    def have(self, address: str) -> list[str]:
        """Routers that have it."""
        return [name for name in self.routers if f" {address}/" in self.run(name, "ip", "-o", "address")]

    def run(self, name: str, *argv: str, check: bool = True) -> str:
        return self.routers[name].run(*argv, check=check)

    def make_primary(self, name: str) -> None:
        if self.settled() != name:
            answer = self.routers[other(name)].request("POST", "/v1/switch-over")
            assert answer.status == 200, answer.text
        assert self.settled() == name

    def failed_checks(self, name: str) -> dict[str, str]:
        found = self.routers[name].get("/v1/health?fresh")["checks"]
        return {check["name"]: check["detail"] for check in found if not check["ok"]}

    # --- trouble -------------------------------------------------------------------------------------------

    @contextmanager
    def unplugged(self, name: str, link: str) -> Iterator[None]:
        """Without its cable to a segment: the card has no carrier."""
        port = port_name(full_name(self.containers.cloud, name), macs(name)[link])
        self._switch("ip", "link", "set", port, "down")
        try:
            yield
        finally:
            self._switch("ip", "link", "set", port, "up")

    def power_cut(self, name: str) -> None:
        """Nothing is heard of it from this moment on. A container that is killed is a kernel that goes on
        forwarding until its namespace is gone."""
        for mac in macs(name).values():
            self._switch("ip", "link", "set", port_name(full_name(self.containers.cloud, name), mac), "down")
        self.containers.kill(name)

    @contextmanager
    def parted(self, name: str, link: str, client: str) -> Iterator[None]:
        """Without a way between a router's card and a client on the same segment (bridge(8), isolated)."""
        place = self.clients[client]
        ports = [
            port_name(full_name(self.containers.cloud, name), macs(name)[link]),
            port_name(place.full, place.mac),
        ]
        for port in ports:
            self._switch("bridge", "link", "set", "dev", port, "isolated", "on")
        try:
            yield
        finally:
            for port in ports:
                self._switch("bridge", "link", "set", "dev", port, "isolated", "off")

    @contextmanager
    def deaf(self, name: str) -> Iterator[None]:
        """A router that hears nothing of the other: no advert, nothing on the sync link."""
        rules = "table inet deaf { chain c { type filter hook prerouting priority -500; " \
                "meta l4proto 112 drop; iifname sync0 drop; }; }"  # fmt: skip
        self.routers[name].run("nft", "-f", "-", stdin=rules)
        try:
            yield
        finally:
            self.run(name, "nft", "delete", "table", "inet", "deaf")

    def _switch(self, *argv: str) -> None:
        done = namespace.run(self.containers.switch.namespace, argv, timeout=10)
        assert done.returncode == 0, done.stderr


def other(name: str) -> str:
    return "r2" if name == "r1" else "r1"


@contextmanager
def listening(client: Client, protocol: int) -> Iterator[list[tuple[float, bytes]]]:
    """Frames of an Ethernet protocol that come by while the block runs: when, and what."""
    import threading

    with inside(client.full):
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
        raw.bind(("eth0", protocol))
    raw.settimeout(0.1)
    frames: list[tuple[float, bytes]] = []
    stop = threading.Event()

    def listen() -> None:
        while not stop.is_set():
            try:
                frames.append((time.monotonic(), raw.recv(2048)))
            except TimeoutError:
                continue

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield frames
    finally:
        stop.set()
        thread.join()
        raw.close()


def announcements(frames: list[tuple[float, bytes]], address: str, mac: str, *, after: float) -> int:
    """Gratuitous ARPs of an address from a card."""
    wanted = socket.inet_aton(address)
    return sum(
        1
        for at, frame in frames
        if at >= after and frame[28:32] == frame[38:42] == wanted and frame[22:28].hex(":") == mac
    )


def advertisements(frames: list[tuple[float, bytes]], mac: str, *, after: float) -> int:
    """Unsolicited neighbour advertisements (RFC 4861, section 7.2.6) from a card: ICMPv6 type 136."""
    return sum(
        1
        for at, frame in frames
        if at >= after and frame[20] == 58 and frame[54] == 136 and frame[6:12].hex(":") == mac
    )


def offers(client: Client, *, seconds: float = 1.0) -> list[tuple[str, str]]:
    """What answers a DHCPDISCOVER (RFC 2131): the address offered, and the server's identifier."""
    discover = bytes((1, 1, 6, 0)) + b"\x11\x22\x33\x44" + bytes(2) + b"\x80\x00" + bytes(16)
    discover += bytes.fromhex(client.mac.replace(":", "")) + bytes(202) + b"\x63\x82\x53\x63"
    with client.socket(socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        asking.bind(("0.0.0.0", 68))
        asking.sendto(discover + bytes((53, 1, 1, 255)), ("255.255.255.255", 67))
        found, deadline = [], time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            asking.settimeout(left)
            try:
                answer = asking.recv(2048)
            except TimeoutError:
                break
            place = answer.find(bytes((54, 4)), 240)
            found.append((socket.inet_ntoa(answer[16:20]), socket.inet_ntoa(answer[place + 2 : place + 6])))
    return found


def leases(lab: PairLab, name: str, link: str = "guest0") -> dict[str, str]:
    """MAC address -> address in a router's DHCP server."""
    text = lab.run(name, "cat", f"/var/lib/sysvm/leases/{link}", check=False)
    return {line.split()[1]: line.split()[2] for line in text.splitlines() if len(line.split()) >= 4}
