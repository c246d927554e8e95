"""Prove that the cloud works, as its guests and the world outside see it: real clients, packets, effects."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from appliance.devcloud import guests, internet
from appliance.devcloud.intent import PUBLIC_KEY, USER_DATA_MARK
from appliance.devcloud.layout import (
    BLOCKED_PORT,
    CLIENT_ADDRESS,
    DOMAIN,
    FORWARDED_PORT,
    GUEST_GATEWAY,
    GUESTS,
    MTU,
    NTP_ADDRESS,
    PUBLIC_ADDRESS,
    ROUTED_GATEWAY,
    ROUTED_NETWORK,
    SEARCH,
    STATIC_NAT_ADDRESS,
    WEB_ADDRESS,
    WEB_NAME,
)
from appliance.runtime.runtime import Runtime

_REFUSED_SECONDS = "1"
"""How long a client waits where no answer is to come."""
_VM1, _VM2 = GUESTS


class UnprovenError(Exception):
    """What a check saw instead of what should be, in a sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    name: str
    ok: bool
    seen: str
    seconds: float


def verdicts(checks: Mapping[str, Callable[[], str]]) -> Iterator[Verdict]:
    """Of checks by name, each of which says what it saw or raises UnprovenError."""
    for name, check in checks.items():
        started = time.monotonic()
        try:
            seen, ok = check(), True
        except (UnprovenError, OSError, RuntimeError, LookupError) as error:
            seen, ok = str(error), False
        yield Verdict(name=name, ok=ok, seen=seen, seconds=time.monotonic() - started)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prover:
    """Asks the guests and the internet of one cloud."""

    runtime: Runtime
    cloud: str
    passwords: dict[str, str]

    def run(self) -> Iterator[Verdict]:
        """A verdict at a time, as each is reached."""
        yield from verdicts(self._checks())

    def _checks(self) -> dict[str, Callable[[], str]]:
        return {
            "guests boot, cloud-init finishes": self._cloud_init,
            "lease: the reserved address": self._lease,
            "options: router, DNS, domain, NTP": self._options,
            "options: search list": self._search,
            "options: MTU": self._mtu,
            "options: classless routes": self._routes,
            "names of guests": self._names,
            "reverse names": self._reverse,
            "names of the world, by an upstream": self._outside_names,
            "user-data script ran": self._user_data,
            "host name and ssh key": self._identity,
            "password set": self._password,
            "password can't be fetched twice": self._password_once,
            "source NAT": self._source_nat,
            "port forward from outside": self._port_forward,
            "port forward from inside (hairpin)": self._hairpin,
            "static NAT inwards": self._static_nat_in,
            "static NAT outwards": self._static_nat_out,
            "firewall lets in": self._firewall_in,
            "firewall keeps out": self._firewall_out,
            "egress allowed": self._egress,
            "egress denied": self._egress_denied,
        }

    # --- guests' own view ---------------------------------------------------------------------------

    def _cloud_init(self) -> str:
        for guest in GUESTS:
            status = guests.wait(self.runtime, guest.name).stdout
            expect("status: done" in status, f"{guest.name}: {' '.join(status.split())}")
            expect("DataSourceCloudStack" in status, f"{guest.name} has another data source: {status}")
        return "DataSourceCloudStack, no errors"

    def _lease(self) -> str:
        for guest in GUESTS:
            seen = self._in(guest.name, "ip", "-4", "-brief", "address", "show", "dev", "eth0")
            expect(f" {guest.address}/24" in seen, f"{guest.name} has {seen}")
        return ", ".join(guest.address for guest in GUESTS)

    def _options(self) -> str:
        lease = self._lease_file()
        wanted = {"ROUTER": GUEST_GATEWAY, "DNS": GUEST_GATEWAY, "DOMAINNAME": DOMAIN, "NTP": NTP_ADDRESS}
        for key, value in wanted.items():
            expect(lease.get(key) == value, f"{key} is {lease.get(key)}, not {value}")
        return ", ".join(wanted.values())

    def _search(self) -> str:
        seen = self._lease_file().get("DOMAIN_SEARCH_LIST", "")
        expect(seen.split() == SEARCH, f"the search list is {seen!r}")
        return seen

    def _mtu(self) -> str:
        seen = self._in(_VM1.name, "cat", "/sys/class/net/eth0/mtu")
        expect(seen == str(MTU), f"eth0 has MTU {seen}, not {MTU}")
        return seen

    def _routes(self) -> str:
        seen = self._in(_VM1.name, "ip", "-4", "route", "show")
        for destination, gateway in ((ROUTED_NETWORK, ROUTED_GATEWAY), ("default", GUEST_GATEWAY)):
            expect(f"{destination} via {gateway}" in seen, f"no {destination} via {gateway} in: {seen}")
        return f"{ROUTED_NETWORK} via {ROUTED_GATEWAY}, default via {GUEST_GATEWAY}"

    def _names(self) -> str:
        for name in (_VM2.name, f"{_VM2.name}.{DOMAIN}"):
            seen = self._in(_VM1.name, "getent", "ahostsv4", name).split()
            expect(seen[:1] == [_VM2.address], f"{name} is {seen[:1]}")
        return f"{_VM2.name}.{DOMAIN} is {_VM2.address}"

    def _reverse(self) -> str:
        seen = self._in(_VM1.name, "dig", "+short", "+time=2", "-x", _VM2.address, f"@{GUEST_GATEWAY}")
        expect(seen == f"{_VM2.name}.{DOMAIN}.", f"{_VM2.address} is {seen!r}")
        return f"{_VM2.address} is {seen}"

    def _outside_names(self) -> str:
        seen = self._in(_VM1.name, "getent", "ahostsv4", WEB_NAME).split()
        expect(seen[:1] == [WEB_ADDRESS], f"{WEB_NAME} is {seen[:1]}")
        return f"{WEB_NAME} is {WEB_ADDRESS}"

    def _user_data(self) -> str:
        self._in(_VM1.name, "test", "-e", USER_DATA_MARK)
        return f"it left {USER_DATA_MARK}"

    def _identity(self) -> str:
        seen = self._in(_VM1.name, "hostname", "--fqdn")
        expect(seen == f"{_VM1.name}.{DOMAIN}", f"the host name is {seen}")
        keys = self._in(_VM1.name, "cat", "/home/debian/.ssh/authorized_keys")
        expect(PUBLIC_KEY in keys, f"authorized_keys has {keys!r}")
        return f"{seen}, {PUBLIC_KEY.split()[0]} key of user debian"

    def _password(self) -> str:
        stored = self._in(_VM1.name, "getent", "shadow", "debian").split(":")[1]
        # Python has no crypt any more; the Perl of every Debian has.
        check = "chomp(my ($w, $h) = <STDIN>); exit(crypt($w, $h) ne $h)"
        given = f"{self.passwords[_VM1.name]}\n{stored}\n"
        result = self.runtime.run(_VM1.name, ["perl", "-e", check], stdin=given)
        expect(result.returncode == 0, "the user's password is not the one that was given")
        return "user debian has the password that was given"

    def _password_once(self) -> str:
        for guest in GUESTS:
            header = "DomU_Request: send_my_password"
            seen = self._in(
                guest.name, "curl", "-sS", "-m", "5", "-H", header, f"http://{GUEST_GATEWAY}:8080"
            )
            expect(seen == "saved_password", f"{guest.name} asked again and got {len(seen)} bytes")
        return "saved_password"

    # --- packets ------------------------------------------------------------------------------------

    def _source_nat(self) -> str:
        seen = self._from_guest(_VM1.name, f"http://{WEB_NAME}/")
        expect(seen.endswith(PUBLIC_ADDRESS), f"the web server saw {seen}")
        return f"seen as {PUBLIC_ADDRESS}"

    def _port_forward(self) -> str:
        seen = self._from_outside(PUBLIC_ADDRESS, FORWARDED_PORT)
        expect(seen == f"{_VM1.address} saw {CLIENT_ADDRESS}", seen)
        return seen

    def _hairpin(self) -> str:
        answers = []
        for guest in GUESTS:
            seen = self._from_guest(guest.name, f"http://{PUBLIC_ADDRESS}:{FORWARDED_PORT}/")
            expect(seen.startswith(_VM1.address), f"{guest.name} got: {seen}")
            answers.append(guest.name)
        return f"{' and '.join(answers)} reach {_VM1.name} by {PUBLIC_ADDRESS}"

    def _static_nat_in(self) -> str:
        seen = self._from_outside(STATIC_NAT_ADDRESS, 80)
        expect(seen == f"{_VM2.address} saw {CLIENT_ADDRESS}", seen)
        return seen

    def _static_nat_out(self) -> str:
        seen = self._from_guest(_VM2.name, f"http://{WEB_NAME}/")
        expect(seen.endswith(STATIC_NAT_ADDRESS), f"the web server saw {seen}")
        return f"seen as {STATIC_NAT_ADDRESS}"

    def _firewall_in(self) -> str:
        self._from_outside(STATIC_NAT_ADDRESS, 80)
        return f"{STATIC_NAT_ADDRESS}:80 answers"

    def _firewall_out(self) -> str:
        # It listens, as the other guest sees; nobody outside does.
        self._from_guest(_VM1.name, f"http://{_VM2.address}:{BLOCKED_PORT}/")
        result = internet.run(
            self.cloud, curl(f"http://{STATIC_NAT_ADDRESS}:{BLOCKED_PORT}/", _REFUSED_SECONDS)
        )
        expect(result.returncode == 28, f"curl ended with {result.returncode}, not a timeout")
        return f"{STATIC_NAT_ADDRESS}:{BLOCKED_PORT} is silent"

    def _egress(self) -> str:
        self._from_guest(_VM1.name, f"http://{WEB_ADDRESS}/")
        return f"{WEB_ADDRESS}:80 answers"

    def _egress_denied(self) -> str:
        # The server is there for whoever is not kept in.
        here = internet.run(self.cloud, curl(f"http://{WEB_ADDRESS}:{BLOCKED_PORT}/", "5"))
        expect(here.returncode == 0, "the web server itself doesn't answer")
        result = self.runtime.run(_VM1.name, curl(f"http://{WEB_ADDRESS}:{BLOCKED_PORT}/", _REFUSED_SECONDS))
        expect(result.returncode == 28, f"curl ended with {result.returncode}, not a timeout")
        return f"{WEB_ADDRESS}:{BLOCKED_PORT} is silent"

    # --- how to ask ---------------------------------------------------------------------------------

    def _in(self, name: str, *argv: str) -> str:
        result = self.runtime.run(name, argv, timeout=30)
        if result.returncode:
            words = (result.stderr or result.stdout).strip()
            raise UnprovenError(f"{name}: {' '.join(argv)} ended with {result.returncode}: {words}")
        return result.stdout.strip()

    def _lease_file(self) -> dict[str, str]:
        text = self._in(_VM1.name, "sh", "-c", "cat /run/systemd/netif/leases/*")
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def _from_guest(self, name: str, url: str) -> str:
        return answered(self._in(name, *curl(url, "5")))

    def _from_outside(self, address: str, port: int) -> str:
        argv = curl(f"http://{address}:{port}/", "5", "--interface", CLIENT_ADDRESS)
        result = internet.run(self.cloud, argv)
        expect(result.returncode == 0, f"curl ended with {result.returncode}: {result.stderr.strip()}")
        return answered(result.stdout)


def curl(url: str, seconds: str, *options: str) -> list[str]:
    return ["curl", "-sS", "--max-time", seconds, "--dump-header", "-", *options, url]


def answered(text: str) -> str:
    """`SERVER saw CLIENT`, as the answering server says."""
    head, _, body = text.replace("\r", "").partition("\n\n")
    # A load balancer between the two writes names of headers in lower case.
    headers = (line.partition(": ") for line in head.splitlines())
    server = next((value for name, _, value in headers if name.lower() == "x-server"), "?")
    return f"{server} saw {body.strip()}"


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise UnprovenError(otherwise)
