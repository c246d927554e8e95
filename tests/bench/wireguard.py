"""A tunnel's throughput next to one set by hand, and how long many peers take to apply."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any

from appliance.runtime import namespace
from tests.bench import documents
from tests.bench.benchmark import Say, milliseconds, table
from tests.bench.lab import GUEST, GUEST_ADDRESS, PUBLIC, Lab, laboratory
from tests.wireguard_peer import WireGuardPeer, new_key

TITLE = "WireGuard: throughput of a tunnel, and 200 peers"
_PEERS = 200
_PUTS, _PATCHES, _ROUNDS = 3, 11, 3
_SECONDS = 4
_KEY = new_key()
_HAND = "a tunnel set by hand with wg(8) and ip(8), no firewall"
_ROUTER = "the router's tunnel, with firewall and accounting"


def run(say: Say) -> str:
    user = WireGuardPeer(place="", addresses=("10.99.0.2/32",), networks=("10.99.0.0/24", "10.1.0.0/16"))
    with laboratory() as lab:
        user.place = lab.namespace(PUBLIC)
        applied = _apply(lab, say)
        lab.put(_document({"user": _peer(2, user.public_key)}))
        in_kernel = lab.agent.vpn()["wireguard"]["vpn0"]["in_kernel"]
        seen = _throughput(lab, user, say)
    return _text(applied, seen, in_kernel=in_kernel)


def _document(peers: Mapping[str, Any]) -> documents.Document:
    document = documents.empty()
    document["wireguard"] = {
        "vpn0": {
            "private_key": _KEY,
            "listen": {"addresses": [documents.PUBLIC_ADDRESS]},
            "addresses": ["10.99.0.1/16", "fd00:99::1/64"],
            "peers": dict(peers),
        }
    }
    return document


def _peer(number: int, key: str = "") -> dict[str, Any]:
    network = f"10.99.{number >> 8}.{number & 255}/32"
    made = key or WireGuardPeer("", (), ()).public_key
    return {"public_key": made, "preshared_key": new_key(),
            "allowed_ips": [network, f"fd00:99::{number:x}/128"]} if not key else {
            "public_key": made, "allowed_ips": [network]}  # fmt: skip


def _apply(lab: Lab, say: Say) -> dict[str, tuple[float, float]]:
    """Seconds until the answer, and of it what the agent took."""
    full = _document({f"user-{number}": _peer(number) for number in range(2, _PEERS + 2)})
    puts, patches, removals = [], [], []
    for number in range(_PUTS):
        say(f"{_PEERS} peers, {number + 1} of {_PUTS}")
        lab.put(_document({}))
        puts.append(lab.put(full))
    for number in range(_PATCHES):
        say(f"one more, {number + 1} of {_PATCHES}")
        name = f"more-{number}"
        patch = {"wireguard": {"vpn0": {"peers": {name: _peer(1000 + number)}}}}
        patches.append(lab.patch(patch))
        removals.append(lab.patch({"wireguard": {"vpn0": {"peers": {name: None}}}}))
    return {
        f"{_PEERS} peers at once": _median(puts),
        f"one more beside {_PEERS}": _median(patches),
        "that one removed": _median(removals),
    }


def _median(seen: list[Any]) -> tuple[float, float]:
    return median(seconds for seconds, _ in seen), median(report.seconds or 0.0 for _, report in seen)


def _throughput(lab: Lab, user: WireGuardPeer, say: Say) -> dict[str, list[float]]:
    """Megabits of TCP per second from the user to the guest, in turn."""
    modes: dict[str, Callable[[], Any]] = {_HAND: lambda: _by_hand(lab, user), _ROUTER: lambda: _router(lab)}
    seen: dict[str, list[float]] = {mode: [] for mode in modes}
    public = WireGuardPeer("", (), (), private_key=_KEY).public_key
    endpoint = f"{documents.PUBLIC_ADDRESS}:51820"
    with _server(lab), user.up(tunnel_key=public, endpoint=endpoint, keepalive=1):
        for number in range(_ROUNDS):
            for mode, begin in modes.items():
                say(f"{mode}, {number + 1} of {_ROUNDS}")
                with begin():
                    _until_there(user)
                    seen[mode].append(_tcp(user))
    return seen


@contextmanager
def _router(lab: Lab) -> Iterator[None]:
    yield


@contextmanager
def _by_hand(lab: Lab, user: WireGuardPeer) -> Iterator[None]:
    """In the router's place and of the same kind: its agent waits, its rules and its tunnel are gone."""
    config = f"[Interface]\nPrivateKey = {_KEY}\nListenPort = 51820\n"
    config += f"[Peer]\nPublicKey = {user.public_key}\nAllowedIPs = 10.99.0.2/32\n"
    begin = """
        systemctl kill --signal=STOP sysvm-agent
        systemctl stop sysvm-wireguard@vpn0 || true
        ip link delete vpn0 2>/dev/null || true
        nft flush ruleset
        ip link add hand0 type wireguard 2>/dev/null || wireguard-go hand0 2>/dev/null
        wg setconf hand0 /dev/stdin
        ip address add 10.99.0.1/24 dev hand0
        ip link set hand0 mtu 1420 up
    """
    end = "ip link delete hand0; systemctl kill --signal=CONT sysvm-agent"
    _sh(lab, begin, stdin=config)
    try:
        yield
    finally:
        _sh(lab, end)
        # It finds what is gone, and puts it back.
        lab.hang_up()
        deadline = time.monotonic() + 60
        while "vpn0" not in _sh(lab, "wg show interfaces; nft list tables") or lab.agent.status().state != (
            "converged"
        ):
            assert time.monotonic() < deadline
            time.sleep(0.5)


def _sh(lab: Lab, script: str, *, stdin: str | None = None) -> str:
    done = lab.runtime.run(documents.NAME, ["sh", "-ec", script], stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def _server(lab: Lab) -> Iterator[None]:
    argv = namespace.entering(lab.namespace(GUEST), ["iperf3", "--server"])
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait()


def _until_there(user: WireGuardPeer) -> None:
    deadline = time.monotonic() + 60
    while True:
        argv = ["ping", "-n", "-c", "1", "-W", "1", GUEST_ADDRESS]
        if namespace.run(user.place, argv, timeout=10).returncode == 0:
            return
        assert time.monotonic() < deadline


def _tcp(user: WireGuardPeer) -> float:
    argv = ["iperf3", "--client", GUEST_ADDRESS, "--time", str(_SECONDS), "--omit", "1", "--json"]
    done = namespace.run(user.place, argv, check=True, timeout=60)
    bits: float = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]
    return bits / 1e6


def _text(
    applied: Mapping[str, tuple[float, float]], seen: Mapping[str, list[float]], *, in_kernel: bool
) -> str:
    where = "the kernel's WireGuard" if in_kernel else "wireguard-go, as the kernel has no WireGuard here"
    hand = median(seen[_HAND])
    rows = [
        [
            mode,
            f"{median(found):,.0f}",
            f"{min(found):,.0f}-{max(found):,.0f}",
            f"{median(found) / hand:.0%}",
        ]
        for mode, found in seen.items()
    ]
    return "\n\n".join(
        [
            f"TCP from a remote user to a guest, by {where}. Both ends share this machine's processors: the "
            f"ratio is what tells. {_ROUNDS} rounds in turn of {_SECONDS} s.",
            table(["", "Mbit/s, median", "range", "ratio"], rows),
            f"Peers with a preshared key and an address of each family. Medians of {_PUTS} and {_PATCHES}.",
            table(
                ["", "ms", "of it applying"],
                [[what, milliseconds(took), milliseconds(agent)] for what, (took, agent) in applied.items()],
            ),
        ]
    )
