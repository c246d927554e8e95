"""Questions about packets through the agent's API: what becomes of one, what passes, who answers."""

import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from router_lab import FAR, FORWARDS, GATEWAY, STATIC, WEB, Lab, until
from traffic import connected

PORT = 5003


def ask(lab: Lab, path: str, *, status: int = 200, **question: Any) -> Any:
    answer = lab.request("POST", path, {key.rstrip("_"): value for key, value in question.items()})
    assert answer.status == status, answer.text
    return answer.json


# --- explain ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "outcome", "pointer"),
    [
        ({"from_": FAR, "to": FORWARDS, "port": 8080}, "forwarded", "/firewall/ingress/rules/web"),
        ({"from_": FAR, "to": FORWARDS, "port": 22}, "dropped", "/firewall/ingress/policy"),
        ({"from_": FAR, "to": STATIC, "port": 80}, "forwarded", "/firewall/ingress/rules/static"),
        ({"from_": "10.1.1.10", "to": WEB, "port": 25}, "dropped", "/firewall/egress/guest0/rules/mail"),
        ({"from_": "10.1.1.10", "to": WEB, "port": 80}, "forwarded", "/firewall/egress/guest0/policy"),
        ({"from_": "8.8.8.8", "to": WEB, "port": 80, "link": "guest0"}, "dropped",
         "/interfaces/guest0/addresses"),
        ({"from_": "10.1.1.10", "to": "10.1.2.10", "port": 80}, "dropped", None),
        ({"from_": "10.1.1.10", "to": "10.1.1.1", "protocol": "udp", "port": 53}, "delivered",
         "/dns/guest0"),
    ],
)  # fmt: skip
def test_what_becomes_of_a_packet(lab: Lab, question: Any, outcome: str, pointer: str | None) -> None:
    mail = {"verdict": "drop", "protocol": "tcp", "ports": 25}
    lab.patch({"firewall": {"egress": {"guest0": {"rules": {"mail": mail}}}}})
    server = lab.serve("vm1", 80)
    before = server.received
    found = ask(lab, "/v1/explain", **question)
    assert (found["outcome"], found["pointer"]) == (outcome, pointer), found
    assert server.received == before
    assert lab.drift() == []


def test_the_answer_is_what_then_happens(lab: Lab) -> None:
    for port, answered in ((8080, True), (8081, False)):
        found = ask(lab, "/v1/explain", from_=GATEWAY, to=FORWARDS, port=port)
        assert (found["outcome"] == "forwarded") is answered
        assert (lab["net"].ask(FORWARDS, port, seconds=0.5) is not None) is answered


@pytest.mark.parametrize(
    ("path", "question", "pointer"),
    [
        ("/v1/explain", {"from": "x", "to": WEB, "port": 1}, "/from"),
        ("/v1/explain", {"from": WEB, "to": WEB, "port": 1, "link": "-x"}, "/link"),
        ("/v1/explain", {"to": WEB, "port": 1}, "/from"),
        ("/v1/diagnostics/ping", {"target": "-f"}, "/target"),
        ("/v1/diagnostics/ping", {"target": WEB, "count": 10**6}, "/count"),
        ("/v1/diagnostics/traceroute", {"target": "$(reboot)"}, "/target"),
        ("/v1/diagnostics/arping", {"target": "fd00::1"}, "/target"),
        ("/v1/diagnostics/lookup", {"name": "a b", "server": WEB}, "/name"),
    ],
)
def test_questions_that_are_none(unharmed: Lab, path: str, question: Any, pointer: str) -> None:
    answer = unharmed.request("POST", path, question)
    assert answer.status == 422
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


def test_questions_without_an_answer_say_why(lab: Lab) -> None:
    assert "no link guest9" in ask(
        lab, "/v1/explain", status=422, from_="10.1.1.10", to=WEB, port=1, link="guest9"
    )["detail"]  # fmt: skip
    assert "no link guest9" in ask(
        lab, "/v1/diagnostics/ping", status=422, target=WEB, link="guest9"
    )["detail"]  # fmt: skip
    assert lab.request("POST", "/v1/explain", b"{").status == 400


# --- connections --------------------------------------------------------------------------------------


def test_connections_of_a_guest(lab: Lab) -> None:
    with connected(lab["vm1"], WEB, PORT, lab["net"]), connected(lab["vm2"], WEB, PORT + 1, lab["net"]):
        found = lab.get("/v1/connections?guest=10.1.1.10")
        (mine,) = [item for item in found["connections"] if item["original"].get("port") == PORT]
        assert mine["original"]["from"] == "10.1.1.10"
        assert mine["reply"]["from"] == WEB
        assert (mine["protocol"], mine["state"]) == ("tcp", "ESTABLISHED")
        assert not [item for item in found["connections"] if item["original"].get("port") == PORT + 1]
        assert lab.get("/v1/connections")["total"] >= found["total"] + 1
        assert len(lab.get("/v1/connections?limit=1")["connections"]) == 1
    for query in ("guest=x", "limit=0", "limit=many", "other=1"):
        assert lab.request("GET", f"/v1/connections?{query}").status == 422, query


# --- capture ------------------------------------------------------------------------------------------


def capture(lab: Lab, **query: Any) -> Any:
    """Status and content, by the management plane's own client."""
    with lab.agent() as agent:
        return b"".join(agent.capture(query))


def packets(content: bytes, path: Path, *words: str) -> list[str]:
    path.write_bytes(content)
    read = subprocess.run(
        ["tcpdump", "-n", "-r", str(path), *words], capture_output=True, text=True, check=True
    )  # fmt: skip
    return read.stdout.splitlines()


@pytest.fixture
def pings(lab: Lab) -> Any:
    """vm1 pings the gateway all the while."""
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            lab["vm1"].ping("10.1.1.1")
            time.sleep(0.05)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    ended.set()
    thread.join()


def test_a_capture_is_a_pcap_file(lab: Lab, pings: None, tmp_path: Path) -> None:
    content = capture(lab, link="guest0", filter="icmp and host 10.1.1.10", packets=6, seconds=20)
    seen = packets(content, tmp_path / "a.pcap")
    assert len(seen) == 6
    assert all("10.1.1.10" in line and "ICMP echo" in line for line in seen)


def test_a_capture_ends(lab: Lab, pings: None, tmp_path: Path) -> None:
    begun = time.monotonic()
    content = capture(lab, link="guest0", filter="tcp port 1", seconds=2)
    assert time.monotonic() - begun < 8
    assert packets(content, tmp_path / "none.pcap") == []
    content = capture(lab, link="guest0", filter="icmp", bytes=1024, seconds=20)
    assert 500 < len(content) <= 1024
    assert len(packets(content, tmp_path / "few.pcap")) == (len(content) - 24) // 114


def test_it_comes_as_it_goes(lab: Lab, pings: None) -> None:
    with lab.agent() as agent:
        begun = time.monotonic()
        pieces = agent.capture({"link": "guest0", "filter": "icmp", "packets": 10_000, "seconds": 60})
        received = 0
        while received < 1000:
            received += len(next(pieces))
        assert time.monotonic() - begun < 20
        pieces.close()
    # Who hangs up ends it.
    until(lambda: lab.run("pgrep", "tcpdump", check=False) == "", seconds=15, what="no tcpdump")


def test_tcpdump_has_no_privileges(lab: Lab, pings: None) -> None:
    with lab.agent() as agent:
        pieces = agent.capture({"link": "guest0", "filter": "icmp", "packets": 10_000, "seconds": 30})
        next(pieces)
        users = lab.run("ps", "-C", "tcpdump", "-o", "user=").split()
        pieces.close()
    until(lambda: lab.run("pgrep", "tcpdump", check=False) == "", seconds=15, what="no tcpdump")
    assert users and "root" not in users


@pytest.mark.parametrize(
    "query",
    [
        {"link": "control0"},
        {"link": "guest9"},
        {"link": "-w/etc/passwd"},
        {"link": "guest0", "filter": "no such thing"},
        {"link": "guest0", "filter": "-w /etc/passwd"},
        {"link": "guest0", "filter": "-z reboot -G 1"},
        {"link": "guest0", "filter": "icmp\n-w x"},
        {"link": "guest0", "packets": "many"},
        {"link": "guest0", "seconds": 10**6},
        {"filter": "icmp"},
        {"link": "guest0", "more": "1"},
    ],
    ids=str,
)
def test_what_can_not_be_captured(unharmed: Lab, query: dict[str, Any]) -> None:
    answer = unharmed.request("GET", f"/v1/capture?{urlencode(query)}")
    assert answer.status == 422, answer.text
    assert answer.json["detail"]
    assert unharmed.run("pgrep", "tcpdump", check=False) == ""


# --- diagnostics --------------------------------------------------------------------------------------


def test_ping(lab: Lab) -> None:
    found = ask(lab, "/v1/diagnostics/ping", target="10.1.1.10", count=3)
    assert (found["sent"], found["received"]) == (3, 3)
    assert 0 < found["milliseconds"]["min"] <= found["milliseconds"]["max"]
    silent = ask(lab, "/v1/diagnostics/ping", target="10.1.1.77", count=2, link="guest0")
    assert (silent["received"], silent["milliseconds"]) == (0, None)


def test_traceroute(lab: Lab) -> None:
    found = ask(lab, "/v1/diagnostics/traceroute", target=GATEWAY, hops=3)
    assert found["reached"]
    assert found["hops"][-1]["address"] == GATEWAY


def test_arping(lab: Lab) -> None:
    found = ask(lab, "/v1/diagnostics/arping", target="10.1.1.10", count=2)
    assert found["link"] == "guest0"
    assert {reply["mac"] for reply in found["replies"]} == {lab["vm1"].mac}
    assert ask(lab, "/v1/diagnostics/arping", target="10.1.1.77", count=1)["replies"] == []


def test_lookup(lab: Lab) -> None:
    found = ask(lab, "/v1/diagnostics/lookup", name="vm1.a.example", server="10.1.1.1")
    assert [item["text"] for item in found["answers"]] == ["10.1.1.10"]
    missing = ask(lab, "/v1/diagnostics/lookup", name="none.a.example", server="10.1.1.1")
    assert (missing["status"], missing["answers"]) == ("NXDOMAIN", [])
    assert "tells nothing" in ask(
        lab, "/v1/diagnostics/lookup", status=422, name="x.example", server="10.1.1.77"
    )["detail"]  # fmt: skip
