"""Users of a tunnel and another site, each with somebody else's WireGuard in a namespace of its own."""

import contextlib
import socket
import threading
import time
from contextlib import ExitStack
from typing import Any

from router_document import document
from router_lab import PUBLIC, Lab, until

from tests.wireguard_peer import WireGuardPeer, new_key

ROUTER6, POOL, POOL6 = "2001:db8::2", "10.99.0.0/24", "fd00:99::/64"
INSIDE = (POOL, POOL6, "10.1.1.0/24", "10.1.2.0/24", "fd00:1::/64")
SITE = "10.50.0.0/16"


class Users:
    """The tunnel's key, and who is at its other ends."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.key = new_key()
        self.shared = new_key()
        self.alice = self.user("road1", 2)
        self.bob = self.user("road2", 3)
        self.site = WireGuardPeer(
            place=lab["plant"].full, addresses=("10.50.0.1/16",), networks=(POOL, "10.1.1.0/24"), port=51999
        )

    def user(self, place: str, number: int) -> WireGuardPeer:
        addresses = (f"10.99.0.{number}/32", f"fd00:99::{number}/128")
        return WireGuardPeer(place=self.lab[place].full, addresses=addresses, networks=INSIDE)

    @property
    def public(self) -> str:
        return WireGuardPeer("", (), (), private_key=self.key).public_key

    def document(self, **fields: Any) -> dict[str, Any]:
        found = document()
        found["interfaces"]["public0"]["addresses"].append(f"{ROUTER6}/64")
        found["interfaces"]["guest0"]["addresses"].append("fd00:1::1/64")
        found["wireguard"] = {
            "vpn0": {
                "private_key": self.key,
                "listen": {"addresses": [PUBLIC, ROUTER6]},
                "addresses": ["10.99.0.1/24", "fd00:99::1/64"],
                "peers": {
                    "alice": {
                        "public_key": self.alice.public_key,
                        "preshared_key": self.shared,
                        "allowed_ips": list(self.alice.addresses),
                    },
                    "bob": {"public_key": self.bob.public_key, "allowed_ips": list(self.bob.addresses)},
                    "site": {"public_key": self.site.public_key, "allowed_ips": [SITE]},
                },
                **fields,
            }
        }
        return found

    def peers(self, **changes: Any) -> dict[str, Any]:
        """A merge patch of the peers."""
        return {"wireguard": {"vpn0": {"peers": changes}}}

    def state(self) -> Any:
        return self.lab.get("/v1/vpn")["wireguard"]["vpn0"]

    def drift(self, wanted: dict[str, Any]) -> Any:
        generation = self.lab.get("/v1/status")["generation"] + 1
        answer = self.lab.request("POST", "/v1/plan", {**wanted, "generation": generation})
        assert answer.status == 200, answer.text
        return answer.json["changes"]


def with_users(lab: Lab) -> Users:
    """The lab with places for users."""
    if "road1" not in lab.clients:
        lab.client("road1", "public0", "02:00:cb:00:71:11", "203.0.113.11/24")
        lab.client("road2", "public0", "02:00:cb:00:71:12", "203.0.113.12/24")
        lab.client("plant", "public0", "02:00:cb:00:71:25", "203.0.113.25/24", local=("10.50.0.7",))
        for name, address in (
            ("road2", "2001:db8::12/64"),
            ("net", "2001:db8::1/64"),
            ("vm1", "fd00:1::10/64"),
        ):
            lab[name].run("ip", "address", "replace", address, "dev", "eth0", "nodad")
        lab["vm1"].run("ip", "-6", "route", "replace", "default", "via", "fd00:1::1")
        lab.serve("vm3", 80)
    return Users(lab)


def connect(ends: ExitStack, vpn: Users, *, bob_by_ipv6: bool = True) -> None:
    """Alice by IPv4 and Bob by IPv6, both heard of."""
    ends.enter_context(
        vpn.alice.up(
            tunnel_key=vpn.public, endpoint=f"{PUBLIC}:51820", preshared_key=vpn.shared, keepalive=1
        )
    )
    outside = f"[{ROUTER6}]:51820" if bob_by_ipv6 else f"{PUBLIC}:51820"
    ends.enter_context(vpn.bob.up(tunnel_key=vpn.public, endpoint=outside, keepalive=1))
    until(lambda: vpn.alice.handshake() and vpn.bob.handshake(), what="handshakes", seconds=40)


class Transfer:
    """Bytes from a user to vm1, as many as go, until it is stopped."""

    def __init__(self, lab: Lab, user: str, port: int) -> None:
        with lab["vm1"].socket() as door:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind(("10.1.1.10", port))
            door.listen()
            self._here = lab[user].socket()
            self._here.settimeout(10)
            self._here.connect(("10.1.1.10", port))
            self._there, _ = door.accept()
        self._there.settimeout(0.2)
        self._here.settimeout(None)
        self.received, self.longest_pause = 0, 0.0
        self._stop = False
        self._threads = [threading.Thread(target=work) for work in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while not self._stop:
                self._here.sendall(bytes(16_384))
                time.sleep(0.002)

    def _receive(self) -> None:
        last = time.monotonic()
        while not self._stop:
            with contextlib.suppress(OSError):
                self.received += len(self._there.recv(1 << 16))
                now = time.monotonic()
                self.longest_pause, last = max(self.longest_pause, now - last), now

    def goes_on(self) -> bool:
        before = self.received
        until(lambda: self.received > before + 100_000, what="the transfer goes on", seconds=30)
        return True

    def is_still(self) -> bool:
        before = self.received
        time.sleep(0.5)
        return self.received == before

    def __enter__(self) -> "Transfer":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        for end in (self._here, self._there):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join(5)
