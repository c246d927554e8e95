"""Sessions of WireGuard over changes, moves, crashes and reboots; what is told of them, and what isn't."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from router_document import document
from router_lab import GATEWAY, Client, Lab, until
from wireguard_lab import Transfer, Users, connect, with_users

from tests.wireguard_peer import WireGuardPeer, new_key

MIB = 1 << 20


@pytest.fixture(scope="module")
def users(shared_lab: Lab) -> Users:
    return with_users(shared_lab)


@pytest.fixture
def vpn(lab: Lab, users: Users) -> Users:
    lab.put(users.document())
    return users


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def move(road: Client, address: str) -> None:
    road.run("ip", "address", "flush", "dev", "eth0", "scope", "global")
    road.run("ip", "address", "add", f"{address}/24", "dev", "eth0")


def test_a_user_moves_to_another_address_in_the_midst(lab: Lab, vpn: Users, ends: ExitStack) -> None:
    connect(ends, vpn)
    road = lab["road1"]
    ends.callback(move, road, "203.0.113.11")
    with Transfer(lab, "road1", 5001) as transfer:
        assert transfer.goes_on()
        session = vpn.alice.handshake()
        for address in ("203.0.113.31", "203.0.113.32"):
            move(road, address)
            vpn.alice.rebind(40_000 + int(address[-2:]))
            assert transfer.goes_on()
            until(
                lambda address=address: vpn.state()["peers"]["alice"]["endpoint"].startswith(f"{address}:")
            )
        assert vpn.alice.handshake() == session
        # Where she is now is nobody's drift.
        assert vpn.drift(vpn.document()) == []
        assert vpn.state()["peers"]["alice"]["endpoint"].startswith("203.0.113.32:")


def test_who_is_removed_is_out_at_once_and_the_others_notice_nothing(
    lab: Lab, vpn: Users, ends: ExitStack
) -> None:
    connect(ends, vpn)
    with Transfer(lab, "road1", 5002) as hers, Transfer(lab, "road2", 5003) as his:
        assert hers.goes_on() and his.goes_on()
        session, before = vpn.alice.handshake(), vpn.state()["peers"]["alice"]
        lab.patch(vpn.peers(bob=None))
        assert his.is_still()
        lab.patch(vpn.peers(carol={"public_key": WireGuardPeer("", (), ()).public_key,
                                   "allowed_ips": ["10.99.0.44/32"]}))  # fmt: skip
        lab.patch(vpn.peers(carol={"allowed_ips": ["10.99.0.45/32"], "persistent_keepalive": 9}))
        lab.patch(vpn.peers(carol=None))
        assert hers.goes_on() and his.is_still()
        after = vpn.state()["peers"]["alice"]
        assert "bob" not in vpn.state()["peers"]
        assert vpn.alice.handshake() == session
        assert after["latest_handshake"] == before["latest_handshake"]
        assert after["sent"] > before["sent"] and after["endpoint"] == before["endpoint"]
        assert hers.longest_pause < 1.0
        # He comes back as he was.
        lab.put(vpn.document())
        assert his.goes_on()


def in_user_space(vpn: Users) -> None:
    if vpn.state()["in_kernel"]:
        pytest.skip("the kernel has WireGuard here: no daemon to kill")


def test_a_daemon_that_is_killed_comes_back_with_all_it_had(lab: Lab, vpn: Users, ends: ExitStack) -> None:
    in_user_space(vpn)
    connect(ends, vpn)
    with Transfer(lab, "road1", 5004) as transfer:
        assert transfer.goes_on()
        lab.run("systemctl", "kill", "--signal=KILL", "sysvm-wireguard@vpn0")
        assert transfer.goes_on()
    assert lab.settled()
    assert vpn.drift(vpn.document()) == []


def test_an_agent_that_is_killed_cuts_nobody(lab: Lab, vpn: Users, ends: ExitStack) -> None:
    connect(ends, vpn)
    with Transfer(lab, "road1", 5005) as transfer:
        assert transfer.goes_on()
        session = vpn.alice.handshake()
        lab.kill_agent()
        assert transfer.goes_on()
        assert vpn.alice.handshake() == session and transfer.longest_pause < 1.0
    assert vpn.drift(vpn.document()) == []


def test_everything_is_back_after_a_reboot(lab: Lab, vpn: Users, ends: ExitStack) -> None:
    connect(ends, vpn)
    assert lab["road1"].ask("10.1.1.10", 80)
    lab.power_cut()
    # Nobody tells the users: their own WireGuard begins anew.
    until(lambda: lab["road1"].ask("10.1.1.10", 80), what="alice is back", seconds=60)
    until(lambda: lab["road2"].ask("10.1.1.10", 80), what="bob is back", seconds=60)
    lab.ready()
    assert vpn.drift(vpn.document()) == []


def test_what_others_did_to_it_is_undone(lab: Lab, vpn: Users, ends: ExitStack) -> None:
    connect(ends, vpn)
    stranger = WireGuardPeer("", (), ()).public_key
    session = vpn.alice.handshake()
    lab.run("wg", "set", "vpn0", "peer", stranger, "allowed-ips", "10.99.0.66/32")
    lab.run("ip", "address", "del", "10.99.0.1/24", "dev", "vpn0")
    lab.run("ip", "link", "set", "vpn0", "mtu", "1300")
    assert stranger in lab.run("wg", "show", "vpn0", "peers")

    def undone() -> bool:
        mtu = lab.sh("cat /sys/class/net/vpn0/mtu").strip()
        addresses = lab.sh("ip address show dev vpn0")
        return stranger not in lab.run("wg", "show", "vpn0", "peers") and (
            mtu == "1420" and "10.99.0.1/24" in addresses
        )

    until(undone, seconds=40, pause=0.5)
    assert vpn.drift(vpn.document()) == []
    assert lab["road1"].ask("10.1.1.10", 80)
    assert vpn.alice.handshake() == session


def test_without_the_section_nothing_is_left(lab: Lab, vpn: Users) -> None:
    assert "vpn0" in lab.sh("ls /sys/class/net")
    lab.put(document())
    assert "vpn0" not in lab.sh("ls /sys/class/net")
    assert lab.get("/v1/vpn")["wireguard"] == {}
    assert lab.unit("sysvm-wireguard@vpn0", "ActiveState") == "inactive"
    assert lab.drift() == []
    lab.put(vpn.document())
    assert vpn.drift(vpn.document()) == []


def test_secrets_are_nowhere_to_be_read(lab: Lab, vpn: Users) -> None:
    secrets = (vpn.key, vpn.shared)
    refused = vpn.document(mtu=9000)
    lab.put(refused, status=422)
    changed = vpn.document()
    changed["wireguard"]["vpn0"]["private_key"] = new_key()
    told = [json.dumps(vpn.drift(changed))]
    paths = ("/v1/config", "/v1/status", "/v1/health", "/v1/usage", "/v1/vpn", "/metrics")
    told += [lab.request("GET", path).text for path in paths]
    told.append(lab.sh("journalctl --no-pager -o cat"))
    told.append(lab.sh("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' ' '", check=False))
    told.append(lab.sh("systemctl status sysvm-wireguard@vpn0 || true"))
    for secret in (*secrets, changed["wireguard"]["vpn0"]["private_key"]):
        assert not [text for text in told if secret in text]
    # On disk the document alone has it, for root.
    places = lab.sh(f"grep -rlF -- {vpn.key} /run /var/lib/sysvm /etc 2>/dev/null || true").split()
    assert set(places) <= {"/var/lib/sysvm/document.json", "/var/lib/sysvm/patches.jsonl"}
    for place in places:
        assert lab.sh(f"stat -c %a {place}").strip() == "600"


def test_a_users_traffic_is_counted_and_only_grows(lab: Lab, vpn: Users, ends: ExitStack) -> None:
    connect(ends, vpn)

    def total(direction: str = "sent", user: str = "alice") -> int:
        found: int = lab.get("/v1/usage")[f"vpn-vpn0/{user}"][direction]["bytes"]
        return found

    def upload() -> None:
        listening = lab.serve("vm1", 80)
        before = listening.received
        with lab["road1"].socket() as connected:
            connected.settimeout(20)
            connected.connect(("10.1.1.10", 80))
            connected.sendall(bytes(MIB - 1) + b"?")
            assert b"saw" in connected.recv(100)
        until(lambda: listening.received - before >= MIB)

    before, his = total(), total(user="bob")
    upload()
    assert MIB < total() - before < MIB * 1.15
    assert total(user="bob") - his < MIB / 10
    # Removed and there again, by another name in between, with another key, and over a reboot.
    for change in (
        lambda: lab.patch(vpn.peers(alice=None)),
        lambda: lab.put(vpn.document()),
        lambda: lab.put(document()),
        lambda: lab.put(vpn.document()),
        lambda: lab.run("systemctl", "restart", "sysvm-agent"),
        lab.power_cut,
    ):
        kept = total()
        change()
        lab.ready()
        assert total() >= kept
    until(lambda: lab["road1"].ask("10.1.1.10", 80), seconds=60)
    kept = total()
    upload()
    assert total() - kept > MIB


def test_a_user_is_made_by_the_command_line(lab: Lab, vpn: Users, ends: ExitStack, tmp_path: Any) -> None:
    """`sysvm vpn client`, and the file it prints is what somebody else's WireGuard takes."""
    from click.testing import CliRunner

    from appliance.cli import main

    path = tmp_path / "r1.json"
    path.write_text(json.dumps({**vpn.document(), "generation": 1}))
    made = CliRunner().invoke(main, ["vpn", "client", "r1", "vpn0", "dave", "--document", str(path)])
    assert made.exit_code == 0, made.output
    lab.put(json.loads(path.read_text()))
    fields = dict(line.split(" = ", 1) for line in made.output.splitlines() if " = " in line)
    dave = WireGuardPeer(
        place=lab["road2"].full,
        addresses=tuple(fields["Address"].split(", ")),
        networks=tuple(fields["AllowedIPs"].split(", ")),
        private_key=fields["PrivateKey"],
    )
    ends.enter_context(
        dave.up(tunnel_key=fields["PublicKey"], endpoint=fields["Endpoint"],
                preshared_key=fields["PresharedKey"], keepalive=1)
    )  # fmt: skip
    until(lambda: lab["road2"].ask("10.1.1.10", 80), what="dave is in")
    assert lab["road2"].ask("10.1.1.10", 80) == "vm1:80 saw 10.99.0.4"


def test_gateways_are_as_they_were(lab: Lab, vpn: Users) -> None:
    """A tunnel's routes are nobody else's."""
    assert f"default via {GATEWAY}" in lab.sh("ip route")
