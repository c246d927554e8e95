"""Somebody else's WireGuard: wireguard-go and wg(8) as the distribution has them, in a network namespace."""

import base64
import itertools
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from appliance.curve25519 import public_key

_NUMBERS = itertools.count(1)


def new_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


@contextmanager
def daemon(link: str, *, place: str | None = None) -> Iterator[None]:
    """wireguard-go for a link in a namespace (by name; this thread's without one). Its socket is the whole
    machine's, so links have names of their own."""
    entering = ["ip", "netns", "exec", place] if place else []
    process = subprocess.Popen(
        [*entering, "wireguard-go", "--foreground", link],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while not Path(f"/var/run/wireguard/{link}.sock").exists():
            assert process.poll() is None, "wireguard-go ended"
            assert time.monotonic() < deadline, "wireguard-go has no socket"
            time.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait(10)


@dataclass
class WireGuardPeer:
    """A tunnel's other end in the namespace `place`."""

    place: str
    addresses: tuple[str, ...]
    """In the tunnel, with prefix lengths."""
    networks: tuple[str, ...]
    """What it sends into the tunnel."""
    port: int = 0
    private_key: str = field(default_factory=new_key, repr=False)
    link: str = field(default_factory=lambda: f"wt{os.getpid() % 10**7}n{next(_NUMBERS)}")

    @property
    def public_key(self) -> str:
        return public_key(self.private_key)

    def run(self, *argv: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.place, *argv],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, (argv, done.stderr)
        return done.stdout

    @contextmanager
    def up(
        self,
        *,
        tunnel_key: str,
        endpoint: str = "",
        preshared_key: str = "",
        keepalive: int = 0,
        mtu: int = 1420,
    ) -> Iterator["WireGuardPeer"]:
        lines = ["[Interface]", f"PrivateKey = {self.private_key}"]
        lines += [f"ListenPort = {self.port}"] if self.port else []
        lines += ["[Peer]", f"PublicKey = {tunnel_key}", f"AllowedIPs = {', '.join(self.networks)}"]
        lines += [f"Endpoint = {endpoint}"] if endpoint else []
        lines += [f"PresharedKey = {preshared_key}"] if preshared_key else []
        lines += [f"PersistentKeepalive = {keepalive}"] if keepalive else []
        with daemon(self.link, place=self.place):
            self.run("wg", "setconf", self.link, "/dev/stdin", stdin="\n".join(lines) + "\n")
            for address in self.addresses:
                self.run("ip", "address", "add", address, "dev", self.link)
            self.run("ip", "link", "set", self.link, "mtu", str(mtu), "up")
            for network in self.networks:
                self.run("ip", "route", "replace", network, "dev", self.link)
            yield self

    def rebind(self, port: int) -> None:
        """Another socket, as apps take when their network changes: wireguard-go goes on sending from the old
        address on the one that it has."""
        self.run("wg", "set", self.link, "listen-port", str(port))

    def shown(self, what: str) -> str:
        """The last field that `wg show` tells of the only peer: endpoints, latest-handshakes, ..."""
        return self.run("wg", "show", self.link, what).split()[-1]

    def handshake(self) -> int:
        """When the latest was, in seconds since the epoch; 0: never."""
        return int(self.shown("latest-handshakes"))
