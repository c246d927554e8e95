"""IPsec: throughput next to a tunnel set up by hand, and documents with 500 users."""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from appliance.boot import ControlInterface
from appliance.management.authority import boot_json
from appliance.runtime import namespace
from appliance.runtime.runtime import Interface, Machine
from tests.bench import documents
from tests.bench.benchmark import Say, milliseconds, table
from tests.bench.lab import GUEST, GUEST_ADDRESS, Lab, end, laboratory
from tests.ipsec_peer import SETTINGS, Peer, Pki

TITLE = "IPsec: throughput, and users"
USERS = 500
_SECONDS = 6
_ROUNDS = 3
_PATCHES = 11
_PSK = "only for measuring, long enough"
SITE, SITE_NETWORK = "203.0.113.20", "192.168.5.1"
GATE, GATE_NETWORK, INNER, GATE_INNER = "203.0.113.21", "10.2.0.0/16", "10.2.0.2", "10.2.0.1"
HELD, HELD_NETWORK, HELD_INNER, HELD_GATE = "203.0.113.22", "10.3.0.0/16", "10.3.0.2", "10.3.0.1"
_HELD = "hand"
_PROPOSALS = ("aes256gcm16-prfsha256-ecp256", "aes256gcm16-ecp256")


def run(say: Say) -> str:
    with laboratory() as lab, tempfile.TemporaryDirectory(prefix="sysvm-bench-") as directory:
        lab.put(documents.empty())
        say("throughput")
        ours, held, by_hand = _throughput(lab, Path(directory))
        # It was idle meanwhile.
        lab.hang_up()
        say(f"{USERS} users")
        put, applying, one, one_applying = _users(lab)
    return "\n\n".join(
        [
            "TCP from a guest to a server behind the other site, AES-256-GCM, medians of "
            f"{_ROUNDS} rounds in turn, {_SECONDS} s each. By hand: strongSwan with swanctl.conf in the "
            "router's place, in a container like the router's, without any rules; and in a plain namespace, "
            "whose processes no container's system call filter looks at. All tunnels are there all the "
            "time, to one other end, and have their IPsec in user space: this machine's kernel has none.",
            table(
                ["tunnel", "Mbit/s", "of that by hand in a container"],
                [
                    [what, f"{rate / 1e6:.0f}", f"{rate / held:.0%}"]
                    for what, rate in (
                        ("set up by hand, in a container", held),
                        ("set up by hand, in a plain namespace", by_hand),
                        ("the router's", ours),
                    )
                ],
            ),
            f"A document with {USERS} users, by IKEv2 and L2TP, is PUT to a router that has none, then "
            "PATCHed with one more:",
            table(
                ["", "ms", "of it applying, ms"],
                [
                    [f"{USERS} users", milliseconds(put), milliseconds(applying)],
                    ["one more", milliseconds(one), milliseconds(one_applying)],
                ],
            ),
        ]
    )


def _throughput(lab: Lab, directory: Path) -> list[float]:
    """Bits per second by the router's tunnel, and by those of the same kind set up by hand: in a container
    and in a namespace."""
    site_place = end("site", "public0", "02:00:cb:00:71:20", [f"{SITE}/24"])
    _run(site_place, f"ip address add {SITE_NETWORK}/32 dev lo")
    site = Peer(site_place, lab.tree, directory / "site")
    site.start(
        _swanctl(SITE, "192.168.5.0/24", "%any", f"{documents.NETWORK},{GATE_NETWORK},{HELD_NETWORK}")
    )
    try:
        with _server(site_place):
            document = documents.empty()
            document["ipsec"] = {
                "site": {
                    "local_address": documents.PUBLIC_ADDRESS, "remote_address": SITE, "psk": _PSK,
                    "local_subnets": [documents.NETWORK], "remote_subnets": ["192.168.5.0/24"],
                }
            }  # fmt: skip
            lab.put(document)
            with _gate(lab, directory) as guest, _container(lab) as held:
                places = ((lab.namespace(GUEST), GUEST_ADDRESS), (held, HELD_INNER), (guest, INNER))
                for place, source in places:
                    _await_tunnel(place, source)
                rounds = [[_measure(place) for place, _ in places] for _ in range(_ROUNDS)]
    finally:
        site.stop()
    return [median(rates) for rates in zip(*rounds, strict=True)]


@contextmanager
def _container(lab: Lab) -> Iterator[str]:
    """A guest's namespace behind a container of the same tree, in which only a strongSwan set up by hand
    does anything. Process 1 starts it, so it has the container's filter and bounds."""
    lab.runtime.switch.up(("inner0",))
    control = ControlInterface(mac="02:00:a9:fe:03:22", address="169.254.3.22/24")
    lab.runtime.start(
        Machine(
            name=_HELD,
            image=lab.tree,
            interfaces=(
                Interface(segment="public0", mac="02:00:cb:00:71:22"),
                Interface(segment="inner0", mac="02:00:0a:03:00:01"),
                Interface(segment="control0", mac=control.mac),
            ),
            boot=boot_json(lab.authority.boot(_HELD, "router", control)).encode(),
        )
    )
    guest = end("inner1", "inner0", "02:00:0a:03:00:02", [f"{HELD_INNER}/16"])
    _run(guest, f"ip route add default via {HELD_GATE}")
    clamp = "tcp flags syn tcp option maxseg size set rt mtu"
    script = f"""
systemctl stop sysvm-agent
nft flush ruleset
ip address add {HELD}/24 dev eth0
ip address add {HELD_GATE}/16 dev eth1
ip link set eth0 up
ip link set eth1 up
sysctl -qw net.ipv4.ip_forward=1
nft 'table ip clamp {{ chain f {{ type filter hook forward priority 0; {clamp}; }}; }}'
mkdir -p /run/hand/swanctl
cat > /run/hand/strongswan.conf <<'END'
{SETTINGS}
END
cat > /run/hand/swanctl/swanctl.conf <<'END'
{_swanctl(HELD, HELD_NETWORK, SITE, "192.168.5.0/24")}
END
export SWANCTL_DIR=/run/hand/swanctl STRONGSWAN_CONF=/run/hand/strongswan.conf
systemd-run --quiet --unit=hand --setenv=SWANCTL_DIR --setenv=STRONGSWAN_CONF /usr/sbin/charon-systemd
until [ -S /run/vici.sock ]; do sleep 0.1; done
swanctl --load-all --noprompt --uri unix:///run/vici.sock
swanctl --initiate --child net --timeout 15 --uri unix:///run/vici.sock
"""
    try:
        lab.runtime.run(_HELD, ["sh", "-e"], stdin=script, check=True, timeout=60)
        yield guest
    finally:
        lab.runtime.kill(_HELD)


@contextmanager
def _gate(lab: Lab, directory: Path) -> Iterator[str]:
    """A guest's namespace behind a router that is a namespace with a strongSwan."""
    place = end("gate", "public0", "02:00:cb:00:71:21", [f"{GATE}/24"])
    guest = lab.namespace("inner")
    namespace.create(guest)
    _run(place, f"ip link add in0 type veth peer name eth0 netns {guest}")
    for command in (f"address add {GATE_INNER}/16 dev in0", "link set in0 up"):
        _run(place, f"ip {command}")
    _run(place, "sysctl -qw net.ipv4.ip_forward=1")
    for command in (
        f"address add {INNER}/16 dev eth0",
        "link set eth0 up",
        f"route add default via {GATE_INNER}",
    ):
        _run(guest, f"ip {command}")
    clamp = "tcp flags syn tcp option maxseg size set rt mtu"
    _run(place, f"nft table ip clamp {{ chain f {{ type filter hook forward priority 0; {clamp}; }}; }}")
    peer = Peer(place, lab.tree, directory / "gate")
    peer.start(_swanctl(GATE, GATE_NETWORK, SITE, "192.168.5.0/24"))
    try:
        peer.initiate("net")
        yield guest
    finally:
        peer.stop()


@contextmanager
def _server(place: str) -> Iterator[None]:
    argv = namespace.entering(place, ["iperf3", "--server"])
    server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        yield
    finally:
        server.terminate()
        server.wait()


def _await_tunnel(place: str, source: str) -> None:
    deadline = time.monotonic() + 30
    while namespace.run(place, ["ping", "-c1", "-W1", "-I", source, SITE_NETWORK]).returncode:
        assert time.monotonic() < deadline, "no tunnel"


def _measure(place: str) -> float:
    argv = ["iperf3", "--client", SITE_NETWORK, "--time", str(_SECONDS), "--json"]
    said = json.loads(namespace.run(place, argv).stdout)
    assert "sum_received" in said["end"], said.get("error", said)
    return float(said["end"]["sum_received"]["bits_per_second"])


def _users(lab: Lab) -> tuple[float, float, float, float]:
    document = documents.empty()
    certificate, key = Pki("bench").issue("vpn.bench.example")
    access: dict[str, Any] = {
        "pool": ["10.200.0.0/22"],
        "ikev2": {
            "address": documents.PUBLIC_ADDRESS, "identity": "vpn.bench.example",
            "certificate": certificate, "private_key": key,
        },
        "l2tp": {"address": documents.PUBLIC_ADDRESS, "psk": _PSK, "pool": "10.201.0.0/22"},
        "users": {},
    }  # fmt: skip
    users = {f"user{number}": {"password": f"password {number}"} for number in range(USERS)}
    puts = []
    for _ in range(_ROUNDS):
        lab.put({**document, "remote_access": access})
        taken, report = lab.put({**document, "remote_access": {**access, "users": users}})
        puts.append((taken, report.seconds))
    patches = []
    for number in range(_PATCHES):
        patch = {"remote_access": {"users": {f"more{number}": {"password": "one more"}}}}
        taken, report = lab.patch(patch)
        patches.append((taken, report.seconds))
    medians = (median(column) for rows in (puts, patches) for column in zip(*rows, strict=True))
    put, applying, one, one_applying = medians
    return put, applying, one, one_applying


def _swanctl(own: str, network: str, other: str, far: str) -> str:
    return f"""
connections {{
  peer {{
    version = 2
    local_addrs = {own}
    remote_addrs = {other}
    proposals = {_PROPOSALS[0]}
    local {{
      auth = psk
      id = {own}
    }}
    remote {{
      auth = psk
    }}
    children {{
      net {{
        local_ts = {network}
        remote_ts = {far}
        esp_proposals = {_PROPOSALS[1]}
      }}
    }}
  }}
}}
secrets {{
  ike-peer {{
    secret = "{_PSK}"
  }}
}}
"""


def _run(place: str, command: str) -> None:
    namespace.run(place, command.split(), check=True)
