"""Probes through a real ruleset in a network namespace: what becomes of them, and that nobody meets them."""

import select
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.agent.explanation import Explanation, Question, QuestionError, explain
from appliance.engine import conntrack
from appliance.engine.host import Host
from appliance.engine.transaction import converge
from appliance.model import validated
from appliance.resources import Ruleset
from appliance.roles import resources
from router import role
from router.document import RouterDocument
from tests.examples import document
from tests.namespace import entered

LINKS = {
    "guest0": ["10.1.1.1/24", "fd00:1::1/64"],
    "guest1": ["10.1.16.1/20"],
    "public0": ["203.0.113.5/24", "203.0.113.6/24", "203.0.113.7/24", "2001:db8::5/64"],
}
OUTSIDE = "198.51.100.7"


def run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterDocument]:
    """The links of docs/examples/everything.json with its rules; this thread is where they are."""
    with entered():
        run("ip", "link", "set", "lo", "up")
        for link, addresses in LINKS.items():
            run("ip", "link", "add", link, "type", "veth", "peer", "name", f"far-{link}")
            for each in (link, f"far-{link}"):
                run("ip", "link", "set", each, "up")
            for address in addresses:
                run("ip", "address", "add", address, "dev", link, *(["nodad"] if ":" in address else []))
        run("ip", "route", "add", "default", "via", "203.0.113.1")
        run("ip", "-6", "route", "add", "default", "via", "2001:db8::1")
        for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            Path(f"/proc/sys/net/{setting}").write_text("1")
        found = document("everything")
        host = Host(generated=tmp_path_factory.mktemp("run"))
        converge([item for item in resources(found) if isinstance(item, Ruleset)], host)
        yield found
        host.ip.close()


@pytest.fixture
def ask(running: RouterDocument) -> Any:
    def ask(source: str, destination: str, **fields: Any) -> Explanation:
        question = validated(Question, {"from": source, "to": destination, **fields})
        return explain(question, running, role.origins)

    return ask


def seen(explanation: Explanation) -> tuple[str, str | None]:
    return explanation.outcome, explanation.pointer


def test_a_port_forward(ask: Any) -> None:
    found = ask(OUTSIDE, "203.0.113.5", port=8080)
    assert seen(found) == ("forwarded", "/firewall/ingress/rules/web")
    assert (found.link_in, found.link_out) == ("public0", "guest0")
    assert (found.leaves.destination, found.leaves.port) == ("10.1.1.10", 80)
    assert ["/port_forwards/web"] in [stage["pointers"] for stage in found.stages]
    assert "10.1.1.10:80" in found.detail


def test_static_nat_both_ways(ask: Any) -> None:
    found = ask(OUTSIDE, "203.0.113.6", port=9)
    assert seen(found) == ("forwarded", "/firewall/ingress/rules/all")
    assert found.leaves.destination == "10.1.1.11"
    assert found.stages[1]["pointers"] == ["/static_nat/203.0.113.6"]
    found = ask("10.1.1.11", OUTSIDE, port=9)
    assert found.leaves.source == "203.0.113.6"
    assert found.stages[-1]["pointers"] == ["/static_nat/203.0.113.6"]


@pytest.mark.parametrize(
    ("source", "destination", "fields", "pointer"),
    [
        (OUTSIDE, "203.0.113.5", {"port": 22}, "/firewall/ingress/policy"),
        ("192.0.2.70", "203.0.113.5", {"port": 8080}, "/firewall/ingress/rules/bad"),
        ("10.1.1.10", OUTSIDE, {"port": 25}, "/firewall/egress/guest0/rules/no-mail"),
        ("10.1.17.10", OUTSIDE, {"port": 443}, "/firewall/egress/guest1/policy"),
        ("8.8.8.8", OUTSIDE, {"port": 443, "link": "guest0"}, "/interfaces/guest0/addresses"),
        # Nothing leads from one network to another, nor to what the router doesn't serve.
        ("10.1.1.10", "10.1.17.10", {"port": 443}, None),
        ("10.1.1.10", "10.1.1.1", {"port": 99}, None),
    ],
)
def test_what_is_dropped(ask: Any, source: str, destination: str, fields: Any, pointer: str | None) -> None:
    found = ask(source, destination, **fields)
    assert seen(found) == ("dropped", pointer)
    assert (pointer or "no line of the document") in found.detail


@pytest.mark.parametrize(
    ("source", "destination", "fields", "outcome", "pointer"),
    [
        ("10.1.1.10", "10.1.1.1", {"protocol": "udp", "port": 53}, "delivered", "/dns/guest0"),
        (OUTSIDE, "203.0.113.5", {"protocol": "icmp"}, "delivered", "/firewall/ingress/rules/ping"),
        ("10.1.1.10", OUTSIDE, {"port": 443}, "forwarded", "/firewall/egress/guest0/policy"),
        ("10.1.17.10", OUTSIDE, {"protocol": "udp", "port": 53}, "forwarded",
         "/firewall/egress/guest1/rules/dns"),
        ("fd00:1::50", "2001:db8:9::1", {"port": 443}, "forwarded", "/firewall/egress/guest0/policy"),
        ("fd00:1::50", "2001:db8:9::1", {"protocol": "icmp"}, "forwarded", "/firewall/egress/guest0/policy"),
        ("10.1.1.10", OUTSIDE, {"protocol": 47}, "forwarded", "/firewall/egress/guest0/policy"),
    ],
)  # fmt: skip
def test_what_gets_through(
    ask: Any, source: str, destination: str, fields: Any, outcome: str, pointer: str
) -> None:
    assert seen(ask(source, destination, **fields)) == (outcome, pointer)


def test_nowhere_to_go(ask: Any, running: RouterDocument) -> None:
    run("ip", "route", "del", "default")
    try:
        found = ask("10.1.1.10", OUTSIDE, port=443)
        assert seen(found) == ("unroutable", None)
    finally:
        run("ip", "route", "add", "default", "via", "203.0.113.1")


def test_nobody_meets_a_probe(ask: Any, running: RouterDocument) -> None:
    """No packet of it, or in answer to it, is on any wire; nothing of it is tracked; no rule stays."""
    before = [each.identity for each in conntrack.connections()]
    wires = []
    for link in LINKS:
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        wire.bind((f"far-{link}", 0x0003))
        wires.append(wire)
    with socket.create_server(("10.1.1.1", 80)) as door:
        door.settimeout(0)
        run("nft", "insert", "rule", "inet", "sysvm", "input", "tcp", "dport", "443", "accept")
        try:
            ask("10.1.1.10", "10.1.1.1", port=80)
            # Nobody listens: the kernel would reset it.
            ask("10.1.1.10", "10.1.1.1", port=443)
        finally:
            listing = run("nft", "-a", "list", "chain", "inet", "sysvm", "input").splitlines()
            handle = next(line.split()[-1] for line in listing if "dport 443 accept" in line)
            run("nft", "delete", "rule", "inet", "sysvm", "input", "handle", handle)
        ask("10.1.1.10", OUTSIDE, port=443)
        ask(OUTSIDE, "203.0.113.5", port=8080)
        with pytest.raises(BlockingIOError):
            door.accept()
    frames = [wire.recv(2000) for wire in wires for _ in range(100) if select.select([wire], [], [], 0)[0]]
    addresses = [socket.inet_aton(text) for text in ("10.1.1.10", OUTSIDE)]
    assert not [frame for frame in frames if any(address in frame for address in addresses)]
    assert [each.identity for each in conntrack.connections()] == before
    assert "explain" not in run("nft", "list", "tables") + run("ip", "link", "show")
    for wire in wires:
        wire.close()


def test_questions_without_an_answer(ask: Any) -> None:
    for source, fields, words in (
        ("203.0.113.5", {}, "the router's own"),
        ("10.1.1.10", {"link": "guest9"}, "no link guest9"),
        ("127.0.0.1", {}, "the router's own"),
    ):
        with pytest.raises(QuestionError, match=words):
            ask(source, OUTSIDE, port=80, **fields)
