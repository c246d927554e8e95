"""Prove that the VPC works, as its guests, its users and the world outside see it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from appliance.devcloud import guests, internet
from appliance.devcloud.checks import UnprovenError, Verdict, answered, curl, expect, verdicts
from appliance.devcloud.layout import (
    CLIENT_ADDRESS,
    DOMAIN,
    GUEST_SEGMENT,
    WEB_ADDRESS,
    WEB_NAME,
)
from appliance.devcloud.vpc.layout import (
    BALANCED_ADDRESS,
    CLIENT_ADDRESSES,
    CLOSED_PORT,
    DATABASE_PORT,
    DATABASE_SEGMENT,
    DB1,
    FORWARDED_PORT,
    LAPTOP,
    LAPTOP_ADDRESS,
    OFFICE,
    OFFICE_HOST,
    PUBLIC_ADDRESS,
    ROUTERS,
    SITE,
    TIERS,
    TUNNEL,
    USER,
    USER_ADDRESS,
    WEB1,
    WEB2,
    WEB_GATEWAY,
)
from appliance.management.remote import Remote, RemoteError
from appliance.runtime import namespace
from appliance.runtime.naming import full_name
from appliance.runtime.runtime import Runtime

_REFUSED_SECONDS = "1"
_SECONDS = 20.0
"""For which what begins by itself, a tunnel say, is waited for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VpcProver:
    """Asks the guests of a VPC, its users, the internet, and the management plane."""

    runtime: Runtime
    cloud: str
    remote: Remote
    redundant: bool

    def run(self) -> Iterator[Verdict]:
        """A verdict at a time, as each is reached."""
        yield from verdicts(self._checks())

    def _checks(self) -> dict[str, Callable[[], str]]:
        checks = {
            "guests boot, cloud-init finishes": self._cloud_init,
            "leases of both tiers": self._leases,
            "names across tiers": self._names,
            "web tier asks the database": self._tier_to_tier,
            "its access list keeps the rest out": self._closed,
            "the database asks nobody outside": self._egress_denied,
            "rules count what they decide": self._hits,
            "source NAT": self._source_nat,
            "port forward from outside": self._port_forward,
            "load balancer: both servers": self._balanced,
            "load balancer: a client has its server": self._sticky,
            "WireGuard: a user reaches the web tier": self._user,
            "WireGuard: and not the database": self._user_denied,
            "IPsec: an office reaches the web tier": self._site,
            "IPsec: and is reached": self._to_site,
        }
        if self.redundant:
            checks |= {
                "pair: a primary, a backup, both healthy": self._pair,
                "pair: nothing to change on either": self._no_drift,
                "pair: usage is both routers' together": self._usage,
            }
        return checks

    # --- guests ---------------------------------------------------------------------------------------

    def _cloud_init(self) -> str:
        for guest in (WEB1, WEB2, DB1):
            status = guests.wait(self.runtime, guest.name).stdout
            expect("status: done" in status, f"{guest.name}: {' '.join(status.split())}")
        return "web1, web2, db1: no errors"

    def _leases(self) -> str:
        found = []
        for tier in TIERS.values():
            for guest in tier:
                seen = self.guest(guest.name, "ip", "-4", "-brief", "address", "show", "dev", "eth0")
                expect(f" {guest.address}/24" in seen, f"{guest.name} has {seen}")
                found.append(guest.address)
        return ", ".join(found)

    def _names(self) -> str:
        name = f"{DB1.name}.db.{DOMAIN}"
        seen = self.guest(WEB1.name, "getent", "ahostsv4", name).split()
        expect(seen[:1] == [DB1.address], f"{name} is {seen[:1]}")
        return f"{name} is {DB1.address}"

    def _tier_to_tier(self) -> str:
        seen = self._from_guest(WEB1.name, f"http://{DB1.address}:{DATABASE_PORT}/")
        expect(seen == f"{DB1.address} saw {WEB1.address}", seen)
        return seen

    def _closed(self) -> str:
        for name, address, port in (
            (WEB1.name, DB1.address, CLOSED_PORT),
            (DB1.name, WEB1.address, CLOSED_PORT),
            (DB1.name, WEB1.address, 80),
        ):
            self._silent(name, address, port)
        return f"{DB1.name}:{CLOSED_PORT} and {WEB1.name}:{CLOSED_PORT} are silent"

    def _egress_denied(self) -> str:
        self._from_guest(WEB1.name, f"http://{WEB_ADDRESS}/")
        self._silent(DB1.name, WEB_ADDRESS, 80)
        return f"{WEB_ADDRESS} answers {WEB1.name}, not {DB1.name}"

    def _hits(self) -> str:
        pointer = "/acls/db/rules/database"
        packets = sum(
            self._ask(router, "hits").get(pointer, {}).get("packets", 0) for router in self.routers()
        )
        expect(packets > 0, f"{pointer} has no hits")
        return f"{pointer}: {packets}"

    # --- the world outside ------------------------------------------------------------------------------

    def _source_nat(self) -> str:
        seen = self._from_guest(WEB1.name, f"http://{WEB_NAME}/")
        expect(seen.endswith(PUBLIC_ADDRESS), f"the web server saw {seen}")
        return f"seen as {PUBLIC_ADDRESS}"

    def _port_forward(self) -> str:
        script = (
            "import socket,sys;s=socket.create_connection((sys.argv[1],int(sys.argv[2])),5,"
            "(sys.argv[3],0));s.sendall(b'hello\\n');print(s.recv(9).decode())"
        )
        argv = ["python3", "-c", script, PUBLIC_ADDRESS, str(FORWARDED_PORT), CLIENT_ADDRESS]
        result = internet.run(self.cloud, argv)
        expect(result.stdout.strip() == "hello", f"no echo: {result.stderr[-200:]}")
        return f"{PUBLIC_ADDRESS}:{FORWARDED_PORT} is {WEB2.name}"

    def servers(self) -> dict[str, str]:
        """Which server each client of the load balancer is led to."""
        return {client: self._from_client(client) for client in CLIENT_ADDRESSES}

    def _balanced(self) -> str:
        seen = set(self.servers().values())
        expect(seen == {WEB1.address, WEB2.address}, f"only {', '.join(sorted(seen))} answered")
        return f"{BALANCED_ADDRESS}:80 is {WEB1.address} and {WEB2.address}"

    def _sticky(self) -> str:
        before, after = self.servers(), self.servers()
        expect(before == after, f"{before} before, {after} after")
        return f"{len(before)} clients, each with its own"

    def _user(self) -> str:
        seen = self._from(LAPTOP, f"http://{WEB1.address}/")
        expect(seen == f"{WEB1.address} saw {USER_ADDRESS}", seen)
        peer = _waited(lambda: self._user_session()["connected"], "no session of the user's is known")
        return f"{seen}, from {LAPTOP_ADDRESS}" if peer else seen

    def _user_session(self) -> dict[str, Any]:
        primary = self.routers()[0]
        return dict(self._ask(primary, "vpn")["wireguard"][TUNNEL]["peers"][USER])

    def _user_denied(self) -> str:
        namespace.run(full_name(self.cloud, LAPTOP),
                      ["ip", "route", "replace", f"{DB1.address}/32", "dev", "wg0"])  # fmt: skip
        result = namespace.run(
            full_name(self.cloud, LAPTOP), curl(f"http://{DB1.address}:{DATABASE_PORT}/", _REFUSED_SECONDS)
        )
        expect(result.returncode in (7, 28), f"curl ended with {result.returncode}")
        return f"{DB1.address}:{DATABASE_PORT} is silent"

    def _site(self) -> str:
        # The router begins, so its tunnel may still be on its way.
        _waited(lambda: self._site_session()["state"] == "up", "the tunnel isn't up")
        seen = self._from(OFFICE, f"http://{WEB1.address}/", "--interface", OFFICE_HOST)
        expect(seen == f"{WEB1.address} saw {OFFICE_HOST}", seen)
        return seen

    def _site_session(self) -> dict[str, Any]:
        sessions = self._ask(self.routers()[0], "vpn")["ipsec"]
        return next(dict(item) for item in sessions if item["name"] == SITE)

    def _to_site(self) -> str:
        self.guest(WEB2.name, "ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", OFFICE_HOST)
        return f"{WEB2.name} reaches {OFFICE_HOST}"

    # --- the pair ---------------------------------------------------------------------------------------

    def routers(self) -> list[str]:
        """The primary, and its backup if there is one."""
        names = [router.name for router in (ROUTERS if self.redundant else ROUTERS[:1])]
        return sorted(names, key=lambda name: self.redundant and self.state(name) != "primary")

    def state(self, name: str) -> str:
        """As the router says; `unknown` where it can't be asked."""
        try:
            return str(self._ask(name, "status").get("redundancy", {}).get("state"))
        except UnprovenError:
            return "unknown"

    def _pair(self) -> str:
        primary, backup = self.routers()
        for name, state in ((primary, "primary"), (backup, "backup")):
            expect(self.state(name) == state, f"{name} is {self.state(name)}")

        def well() -> bool:
            wrong = [
                f"{name}: {check['name']}: {check['detail']}"
                for name in (primary, backup)
                for check in self._ask(name, "health")["checks"]
                if not check["ok"]
            ]
            expect(not wrong, "; ".join(wrong))
            return True

        _waited(well, "a check fails")
        return f"{primary} is primary, {backup} backup"

    def _no_drift(self) -> str:
        for name in self.routers():
            _waited(lambda name=name: self._plan(name) == [], f"{name} has something to change")  # type: ignore[misc]
        return "both plans are empty"

    def _plan(self, name: str) -> list[Any]:
        _, answer = self.remote.ask("POST", f"/v1/appliances/{name}/plan")
        return list(answer["changes"])

    def usage(self, *, own: str = "") -> int:
        """Bytes of the web tier, of both routers together or of one."""
        query = {"own": "true"} if own else None
        _, totals = self.remote.ask("GET", f"/v1/appliances/{own or ROUTERS[0].name}/usage", query=query)
        counts = totals.get(f"network-{GUEST_SEGMENT}", {})
        return int(sum(way.get("bytes", 0) for way in counts.values()))

    def _usage(self) -> str:
        def summed() -> bool:
            before = sum(self.usage(own=router.name) for router in ROUTERS)
            together, after = self.usage(), sum(self.usage(own=router.name) for router in ROUTERS)
            expect(before <= together <= after, f"{before} to {after} bytes, and {together} together")
            return together > 0

        _waited(summed, f"{DATABASE_SEGMENT} has no traffic")
        parts = ", ".join(f"{router.name} {self.usage(own=router.name):,}" for router in ROUTERS)
        return f"{self.usage():,} bytes: {parts}"

    # --- how to ask -------------------------------------------------------------------------------------

    def guest(self, name: str, *argv: str) -> str:
        """What a command in a guest says."""
        result = self.runtime.run(name, argv, timeout=30)
        if result.returncode:
            words = (result.stderr or result.stdout).strip()
            raise UnprovenError(f"{name}: {' '.join(argv)} ended with {result.returncode}: {words}")
        return result.stdout.strip()

    def _ask(self, name: str, question: str) -> Any:
        try:
            return self.remote.ask("GET", f"/v1/appliances/{name}/{question}")[1]
        except RemoteError as error:
            raise UnprovenError(f"{name} doesn't say its {question}: {error}") from None

    def _from_guest(self, name: str, url: str) -> str:
        return answered(self.guest(name, *curl(url, "5")))

    def _silent(self, name: str, address: str, port: int) -> None:
        result = self.runtime.run(name, curl(f"http://{address}:{port}/", _REFUSED_SECONDS))
        expect(result.returncode == 28, f"{name} to {address}:{port}: curl ended with {result.returncode}")

    def _from(self, place: str, url: str, *options: str) -> str:
        """What somebody in a namespace gets."""
        result = namespace.run(full_name(self.cloud, place), curl(url, "10", *options))
        expect(result.returncode == 0, f"curl ended with {result.returncode}: {result.stderr.strip()}")
        return answered(result.stdout)

    def _from_client(self, client: str) -> str:
        result = internet.run(self.cloud, curl(f"http://{BALANCED_ADDRESS}/", "10", "--interface", client))
        expect(result.returncode == 0, f"curl ended with {result.returncode}: {result.stderr.strip()}")
        server, _, seen = answered(result.stdout).partition(" saw ")
        expect(seen == WEB_GATEWAY, f"{server} saw {seen}")
        return server


def _waited(true: Callable[[], bool], otherwise: str) -> bool:
    """Once it is true. Raises UnprovenError with what it wasn't at the end."""
    deadline, said = time.monotonic() + _SECONDS, otherwise
    while time.monotonic() < deadline:
        try:
            if true():
                return True
        except UnprovenError as error:
            said = str(error)
        time.sleep(0.2)
    raise UnprovenError(said)
