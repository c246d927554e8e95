"""Application level gateways: with one what a connection tells of further ones comes through, by IPv4 and
IPv6, translated or not; without, it doesn't."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import ftp
import pytest
from ftp import ACTIVE, ACTIVE6, PASSIVE, PASSIVE6, fetched, kept_out
from router_document import document
from router_lab import FAR, FORWARDS, PUBLIC, WEB, Lab
from vpc_lab import TIERS, TIERS6, VpcLab, rule, with_list

ALL = {"ftp": {}, "pptp": {}, "sip": {}, "tftp": {}}


def wanted(**algs: Any) -> dict[str, Any]:
    """Guests go out by the ports of these protocols and no others; an FTP server of vm1's is forwarded."""
    value = document()
    accept = {"verdict": "accept"}
    value["firewall"]["egress"]["guest0"] = {
        "policy": "drop",
        "rules": {
            "ftp": {**accept, "protocol": "tcp", "ports": 21},
            "pptp": {**accept, "protocol": "tcp", "ports": 1723},
            "sip": {**accept, "protocol": "udp", "ports": 5060},
            "tftp": {**accept, "protocol": "udp", "ports": 69},
        },
    }
    value["port_forwards"]["ftp"] = {
        "address": FORWARDS, "protocol": "tcp", "ports": 2121, "target": "10.1.1.10", "target_ports": 21,
    }  # fmt: skip
    value["firewall"]["ingress"]["rules"]["ftp"] = {
        "verdict": "accept", "address": FORWARDS, "protocol": "tcp", "ports": 2121,
    }  # fmt: skip
    value["alg"] = algs
    return value


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as entered:
        yield entered


def test_ftp_out_through_source_nat(lab: Lab, stack: ExitStack, tmp_path: Path) -> None:
    stack.enter_context(ftp.ftp_server(lab["net"], tmp_path, address=WEB))
    vm1, url = lab["vm1"], f"ftp://{WEB}/file"
    lab.put(wanted())
    assert kept_out(vm1, url, *PASSIVE) and kept_out(vm1, url, *ACTIVE)
    lab.put(wanted(ftp={}))
    assert fetched(vm1, url, *PASSIVE)
    assert fetched(vm1, url, *ACTIVE)
    assert lab.drift() == []
    # It helps whom a connection was made for, and nobody else.
    assert vm1.refused(WEB, 80) and lab["net"].refused(PUBLIC, 2000)
    lab.put(wanted())
    assert kept_out(vm1, url, *ACTIVE)
    assert lab.drift() == [] and "sysvm_ftp" not in lab.run("nft", "list", "tables")


def test_ftp_in_through_a_port_forward(lab: Lab, stack: ExitStack, tmp_path: Path) -> None:
    """The port that clients use is the one that's named."""
    stack.enter_context(ftp.ftp_server(lab["vm1"], tmp_path))
    net, url = lab["net"], f"ftp://{FORWARDS}:2121/file"
    lab.put(wanted(ftp={}))
    assert kept_out(net, url, *PASSIVE) and kept_out(net, url, *ACTIVE)
    lab.put(wanted(ftp={"ports": [21, 2121]}))
    assert fetched(net, url, *PASSIVE)
    assert fetched(net, url, *ACTIVE)
    # A helper that changes ends nobody's connection.
    assert lab["net"].ask(FORWARDS, 8080) == "vm1:80 saw 203.0.113.1"


def test_what_was_told_of_ends_with_the_rule_that_let_in_who_told(
    lab: Lab, stack: ExitStack, tmp_path: Path
) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(64 << 20)
    stack.enter_context(ftp.ftp_server(lab["vm1"], tmp_path))
    lab.put(wanted(ftp={"ports": [2121]}))
    session = ftp.Session(lab["net"], FORWARDS, passive=True, port=2121)
    stack.callback(session.close)
    with ftp.inside(lab["net"].full):
        data = stack.enter_context(session.transfercmd("RETR large"))
    data.settimeout(3)
    assert data.recv(1000)
    lab.patch({"firewall": {"ingress": {"rules": {"ftp": None}}}})
    with pytest.raises(TimeoutError):
        while data.recv(1 << 20):
            pass


@pytest.mark.parametrize("version", [4, 6])
def test_ftp_between_tiers(vpc: VpcLab, stack: ExitStack, tmp_path: Path, version: int) -> None:
    """Through access lists, by both families."""
    vpc.ready()
    rules = {"ftp": rule(1, "accept", protocol="tcp", ports=[21], cidrs=["10.2.1.0/24", "fd00:2:1::/64"])}
    vpc.put(with_list("guest1", rules, egress_policy="drop"))
    address = TIERS["b"] if version == 4 else TIERS6["b"]
    stack.enter_context(ftp.ftp_server(vpc["b"], tmp_path, address=address))
    url = f"ftp://{address}/file" if version == 4 else f"ftp://[{address}]/file"
    ways = (PASSIVE, ACTIVE) if version == 4 else (PASSIVE6, ACTIVE6)
    assert all(kept_out(vpc["a"], url, *way) for way in ways)
    vpc.patch({"alg": {"ftp": {}}})
    assert all(fetched(vpc["a"], url, *way) for way in ways)
    vpc.patch({"alg": None})
    assert kept_out(vpc["a"], url, *ways[1])


def test_tftp(lab: Lab, stack: ExitStack, tmp_path: Path) -> None:
    stack.enter_context(ftp.tftp_server(lab["net"], tmp_path, WEB))
    url = f"tftp://{WEB}/file"
    lab.put(wanted())
    assert kept_out(lab["vm1"], url)
    lab.put(wanted(tftp={}))
    assert fetched(lab["vm1"], url)


def test_sip_says_where_it_can_be_heard(lab: Lab) -> None:
    vm1, net = lab["vm1"], lab["net"]

    def asked() -> tuple[str, int]:
        """Where the far end is told to send audio."""
        with net.socket(2) as server, vm1.socket(2) as client:
            server.settimeout(5)
            server.bind((FAR, 5060))
            client.bind(("10.1.1.10", 5060))
            client.sendto(ftp.invitation("10.1.1.10", FAR, 4000), (FAR, 5060))
            return ftp.heard_of(server.recv(4096))

    lab.put(wanted())
    assert asked() == ("10.1.1.10", 4000)
    lab.run("conntrack", "-D", "-p", "udp", "--dport", "5060", check=False)
    lab.put(wanted(sip={}))
    address, port = asked()
    assert address == PUBLIC
    with net.socket(2) as speaking, vm1.socket(2) as hearing:
        hearing.bind(("10.1.1.10", 4000))
        hearing.settimeout(5)
        speaking.bind((FAR, 0))
        speaking.sendto(b"audio", (address, port))
        assert hearing.recv(100) == b"audio"


def test_two_guests_have_a_pptp_tunnel_each(lab: Lab, stack: ExitStack) -> None:
    """To one server, with one call ID: without a helper nobody could tell their packets apart."""
    net = lab["net"]
    lab.put(wanted(pptp={}))
    there = stack.enter_context(ftp.gre_socket(net))
    there.bind((FAR, 0))
    listening = stack.enter_context(net.socket())
    listening.bind((FAR, 1723))
    listening.listen()
    listening.settimeout(10)
    own, calls = {}, {}
    for number, guest in enumerate(("vm1", "vm3")):
        own[guest] = stack.enter_context(ftp.gre_socket(lab[guest]))
        calling = stack.enter_context(lab[guest].socket())
        calling.settimeout(10)
        calling.connect((FAR, 1723))
        with ThreadPoolExecutor() as pool:
            taking = pool.submit(ftp.take_pptp, listening, 7000 + number)
            ftp.call_pptp(calling, 4711)
            taken, address, calls[guest] = taking.result()
        stack.enter_context(taken)
        assert address == PUBLIC
        # What he sends by his tunnel comes from the router's address.
        sent = ftp.gre(7000 + number)
        own[guest].sendto(sent, (FAR, 0))
        assert there.recv(2048)[20:] == sent
    assert calls["vm1"] != calls["vm3"]
    for guest, call in calls.items():
        back = ftp.gre(call)
        there.sendto(back, (PUBLIC, 0))
        received = own[guest].recv(2048)[20:]
        assert received[8:] == back[8:] and received[6:8] == (4711).to_bytes(2, "big")


def test_what_the_kernel_has_is_said(lab: Lab) -> None:
    capabilities = lab.status()["capabilities"]
    assert all(f"{name}_alg" in capabilities for name in ALL)
    lab.put(wanted(**ALL))
    there = lab.run("nft", "list", "tables")
    for name in ALL:
        assert (f"inet sysvm_{name}\n" in there) is capabilities[f"{name}_alg"]
    assert lab.drift() == []
    lab.put(document())
    assert "sysvm_sip" not in lab.run("nft", "list", "tables")
