"""A router namespace with the real service, a switch, and guests that are namespaces with real clients."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def sh(*argv: str, check: bool = True, timeout: float = 60) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Guest:
    """A namespace with one card on a network's switch."""

    def __init__(self, namespace: str, *, address: str, mac: str) -> None:
        self.namespace = namespace
        self.address = address
        self.mac = mac

    def run(self, *argv: str, check: bool = True, timeout: float = 60) -> str:
        return sh("ip", "netns", "exec", self.namespace, *argv, check=check, timeout=timeout)

    def curl(self, url: str, *options: str) -> tuple[int, str]:
        """Status and body; status 0 when there was no answer."""
        out = self.run("curl", "-s", "-m", "10", "-w", "\n%{http_code}", *options, url, check=False)
        body, _, status = out.rpartition("\n")
        return int(status or 0), body

    def popen(self, *argv: str, **options: Any) -> subprocess.Popen[Any]:
        return subprocess.Popen(["ip", "netns", "exec", self.namespace, *argv], **options)


class Lab:
    """The router and its switches. Networks are guest0, guest1, ... all with gateway 10.1.1.1."""

    def __init__(self, directory: Path) -> None:
        self.name = f"mds{os.getpid()}"
        self.config = directory / "metadata"
        self.passwords = directory / "passwords"
        self.runtime = directory / "runtime"
        for path in (self.config, self.passwords, self.runtime):
            path.mkdir(parents=True)
        self._namespaces: list[str] = []
        self._networks: dict[str, dict[str, str]] = {}
        self._server: subprocess.Popen[bytes] | None = None
        self.code, self.python = ROOT, sys.executable
        self.router = self._namespace("r")
        sh("ip", "-n", self.router, "address", "add", "169.254.169.254/32", "dev", "lo")

    def network(self, link: str, *, tokens: str = "optional") -> None:
        if link not in self._networks:
            switch = self._namespace(f"s{link}")
            sh("ip", "-n", switch, "link", "add", "name", "switch0", "type", "bridge")
            sh("ip", "-n", switch, "link", "set", "switch0", "up")
            sh("ip", "-n", self.router, "link", "add", link, "type", "veth", "peer", "up0", "netns", switch)
            sh("ip", "-n", switch, "link", "set", "up0", "master", "switch0", "up")
            sh("ip", "-n", self.router, "address", "add", "10.1.1.1/24", "dev", link)
            sh("ip", "-n", self.router, "link", "set", link, "up")
            (self.config / link / "added").mkdir(parents=True)
            (self.config / link / "base").write_text("")
            (self.passwords / link).mkdir(parents=True)
        self._networks[link] = {"address": "10.1.1.1", "network": "10.1.1.0/24", "tokens": tokens}
        self.write_config(self._networks)

    def write_config(self, networks: dict[str, dict[str, str]]) -> None:
        new = self.config / ".config.new"
        new.write_text(json.dumps({"networks": networks}))
        new.rename(self.config / "config.json")

    def guest(self, link: str, number: int, *, mac: str | None = None) -> Guest:
        namespace = self._namespace(f"{link}g{number}")
        guest = Guest(namespace, address=f"10.1.1.{number}", mac=mac or mac_of(number))
        switch = f"{self.name}s{link}"
        sh("ip", "-n", namespace, "link", "add", "eth0", "address", guest.mac, "type", "veth",
           "peer", f"g{number}", "netns", switch)  # fmt: skip
        sh("ip", "-n", switch, "link", "set", f"g{number}", "master", "switch0", "up")
        sh("ip", "-n", namespace, "address", "add", f"{guest.address}/24", "dev", "eth0")
        sh("ip", "-n", namespace, "link", "set", "eth0", "up")
        sh("ip", "-n", namespace, "route", "add", "default", "via", "10.1.1.1")
        return guest

    def add(self, link: str, number: int, **fields: Any) -> dict[str, Any]:
        """Put a record into `added/`, as the agent does."""
        value = record(number, **fields)
        new = self.config / link / "added" / f".{number}"
        new.write_text(json.dumps(value) + "\n")
        new.rename(self.config / link / "added" / value["mac"])
        return value

    def base(self, link: str, records: list[dict[str, Any]]) -> None:
        new = self.config / link / ".base"
        new.write_text("".join(json.dumps(each) + "\n" for each in records))
        new.rename(self.config / link / "base")

    def password(self, link: str, address: str, password: str) -> Path:
        path = self.passwords / link / address
        new = path.with_name(f".{address}")
        new.write_text(password)
        new.rename(path)
        return path

    def start(self, *prefix: str) -> None:
        command = [
            "ip", "netns", "exec", self.router, *prefix, self.python, "-m", "router.metadata_server",
            "--config-directory", str(self.config), "--password-directory", str(self.passwords),
            "--runtime-directory", str(self.runtime),
        ]  # fmt: skip
        self._server = subprocess.Popen(command, cwd=self.code)
        for link in self._networks:
            self.until(lambda link=link: len(self.health().get(link, {}).get("listening", [])) == 3)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._server is not None:
            self._server.send_signal(number)
            self._server.wait(10)
            self._server = None

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def health(self) -> dict[str, Any]:
        out = sh(
            "curl", "-s", "--unix-socket", str(self.runtime / "health.sock"), "http://r/health", check=False
        )
        return dict(json.loads(out)["networks"]) if out else {}

    def until(self, true: Any, *, seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it didn't come true in time"
            time.sleep(0.02)

    def close(self) -> None:
        self.stop()
        for namespace in self._namespaces:
            sh("ip", "netns", "delete", namespace, check=False)

    def _namespace(self, name: str) -> str:
        name = self.name + name
        sh("ip", "netns", "add", name)
        self._namespaces.append(name)
        sh("ip", "-n", name, "link", "set", "lo", "up")
        return name


def mac_of(number: int) -> str:
    return f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"


def record(number: int, **fields: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "address": f"10.1.{1 + (number >> 8)}.{number & 255}",
        "mac": mac_of(number),
        "instance_id": f"i-{number}",
        "hostname": f"vm{number}",
        "domain": "cs1.example",
        "user_data": base64.b64encode(f"#cloud-config\n# {number}\n".encode()).decode(),
        "vendor_data": None,
        "public_keys": [f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{number:042d} a", "ssh-rsa AAAA b"],
        "keys": {"service-offering": "small", "availability-zone": "zone1"},
        "gateway": "10.1.1.1",
        "dns": ["10.1.1.1"],
        "search": ["cs1.example"],
        "prefix_length": None,
        "mtu": 1450,
    }
    return value | fields
