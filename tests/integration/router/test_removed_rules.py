"""With a rule its connections end, at once; all others go on."""

import socket
from contextlib import ExitStack

import pytest
from router_document import document
from router_lab import FAR, FORWARDS, PUBLIC, STATIC, WEB, Lab, until
from traffic import connected, flood

PORT = 5002
Ends = tuple[socket.socket, socket.socket]


def passes(ends: Ends) -> bool:
    here, there = ends
    try:
        here.sendall(b"there")
        there.settimeout(1)
        if there.recv(100) != b"there":
            return False
        there.sendall(b"back")
        here.settimeout(1)
        return here.recv(100) == b"back"
    except OSError:
        return False


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast path", "chains"])
def test_each_ends_its_own(lab: Lab, fast_path: bool) -> None:
    base = {**document(), "fast_path": fast_path}
    base["port_forwards"]["other"] = {
        "address": FORWARDS, "protocol": "tcp", "ports": 8081, "target": "10.1.2.10", "target_ports": PORT,
    }  # fmt: skip
    base["port_forwards"]["web"]["target_ports"] = PORT
    rules = base["firewall"]["ingress"]["rules"]
    rules["other"] = {"verdict": "accept", "address": FORWARDS, "protocol": "tcp", "ports": 8081}
    rules["static"]["ports"] = "80-6000"
    base["firewall"]["egress"]["guest1"] = {
        "policy": "drop",
        "rules": {
            "one": {"verdict": "accept", "protocol": "tcp", "ports": PORT},
            "two": {"verdict": "accept", "protocol": "tcp", "ports": PORT + 1},
        },
    }
    lab.put(base)
    with ExitStack() as stack:

        def connect(client: str, address: str, port: int, server: str, server_port: int) -> Ends:
            return stack.enter_context(connected(lab[client], address, port, lab[server], server_port))

        ends = {
            "web": connect("net", FORWARDS, 8080, "vm1", PORT),
            "other": connect("net", FORWARDS, 8081, "vm3", PORT),
            "static": connect("net", STATIC, PORT, "vm2", PORT),
            "guest0": connect("vm1", WEB, PORT, "net", PORT),
            "one": connect("vm3", FAR, PORT, "net", PORT),
            "two": connect("vm3", WEB, PORT + 1, "net", PORT + 1),
        }
        alive = set(ends)
        assert {name for name in alive if passes(ends[name])} == alive
        for patch, ending in (
            ({"port_forwards": {"web": None}}, {"web"}),
            ({"firewall": {"ingress": {"rules": {"other": None}}}}, {"other"}),
            ({"firewall": {"egress": {"guest1": {"rules": {"one": None}}}}}, {"one"}),
            ({"static_nat": {STATIC: None}}, {"static"}),
            # A new rule that drops ends what it is about; others, and other sections, end nothing.
            ({"firewall": {"egress": {"guest0": {"rules": {
                "no": {"verdict": "drop", "protocol": "tcp", "ports": PORT + 1}}}}}}, set()),
            ({"limits": {"usual": {"connections": 500}}}, set()),
            ({"firewall": {"egress": {"guest0": {"rules": {
                "no": {"ports": PORT, "destination_cidrs": [f"{WEB}/32"]}}}}}}, {"guest0"}),
            ({"firewall": {"egress": {"guest1": {"policy": "accept"}}}}, set()),
            ({"firewall": {"egress": {"guest1": {"rules": {"two": None}}}}}, set()),
            ({"firewall": {"egress": {"guest1": None}}}, {"two"}),
        ):  # fmt: skip
            lab.patch(patch)
            alive -= ending
            assert {name for name in ends if passes(ends[name])} == alive, patch
            assert lab.drift() == []


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast path", "chains"])
def test_a_new_rule_that_drops_ends_what_comes_in_and_nothing_else(lab: Lab, fast_path: bool) -> None:
    base = {**document(), "fast_path": fast_path}
    rules = base["firewall"]["ingress"]["rules"]
    rules["web"]["log"] = True
    rules["static"]["ports"] = "80-6000"
    base["port_forwards"]["web"]["target_ports"] = PORT
    lab.put(base)
    with ExitStack() as stack:
        ends = {
            "web": stack.enter_context(connected(lab["net"], FORWARDS, 8080, lab["vm1"], PORT)),
            "static": stack.enter_context(connected(lab["net"], STATIC, PORT, lab["vm2"], PORT)),
            "out": stack.enter_context(connected(lab["vm2"], WEB, PORT + 1, lab["net"], PORT + 1)),
        }
        alive = set(ends)
        for patch, ending in (
            ({"no": {"verdict": "drop", "address": STATIC, "protocol": "tcp", "ports": PORT + 1}}, set()),
            ({"no": {"ports": f"{PORT - 1}-{PORT + 1}"}}, {"static"}),
            ({"all": {"verdict": "drop", "address": FORWARDS, "protocol": "all",
                      "source_cidrs": ["192.0.2.0/24"]}}, set()),
            ({"all": {"source_cidrs": ["203.0.113.0/24"]}}, {"web"}),
        ):  # fmt: skip
            lab.patch({"firewall": {"ingress": {"rules": patch}}})
            alive -= ending
            assert {name for name in ends if passes(ends[name])} == alive, patch
            assert lab.drift() == []


def test_a_stream_that_is_never_answered_ends_too(lab: Lab) -> None:
    """What was let in once is let in by connection tracking ever after, rules or not."""
    base = document()
    base["port_forwards"]["stream"] = {
        "address": FORWARDS, "protocol": "udp", "ports": 5005, "target": "10.1.1.10", "target_ports": 5005,
    }  # fmt: skip
    rules = base["firewall"]["ingress"]["rules"]
    rules["stream"] = {"verdict": "accept", "address": FORWARDS, "protocol": "udp", "ports": 5005}
    lab.put(base)
    drop = {"verdict": "drop", "address": FORWARDS, "protocol": "udp", "source_cidrs": ["203.0.113.0/24"]}
    with lab["vm1"].socket(socket.SOCK_DGRAM) as receiving:
        receiving.bind(("", 5005))

        def came() -> int:
            count = 0
            receiving.settimeout(0.3)
            try:
                while receiving.recv(100) and count < 100:
                    count += 1
            except TimeoutError:
                pass
            return count

        def drained() -> bool:
            receiving.settimeout(0.5)
            try:
                for _ in range(100_000):
                    receiving.recv(100)
            except TimeoutError:
                return True
            return False

        with flood(lab["net"], FORWARDS, 5005, b"on"):
            until(came, what="the stream")
            for patch in ({"drop": drop}, {"drop": None}, {"stream": None}):
                lab.patch({"firewall": {"ingress": {"rules": patch}}})
                if patch == {"drop": None}:
                    until(came, what="the stream again")
                else:
                    until(drained, seconds=30, what="its end")
                assert lab.drift() == []


def rule(address: str, ports: object, *, verdict: str = "accept", **fields: object) -> dict[str, object]:
    return {"verdict": verdict, "address": address, "protocol": "tcp", "ports": ports, **fields}


def test_hits_of_rules_outlive_changes_of_others(lab: Lab) -> None:
    base = document()
    # A port of its own: ends of connections that other tests cut may still call at theirs.
    base["port_forwards"]["web"]["ports"] = 8790
    base["firewall"]["ingress"]["rules"]["web"]["ports"] = 8790
    # Whatever has been counted before.
    lab.put({**base, "firewall": {}})
    rules = base["firewall"]["ingress"]["rules"]
    rules["never"] = rule(FORWARDS, 9000)
    base["firewall"]["egress"]["guest0"] = {
        "policy": "accept", "rules": {"no": {"verdict": "drop", "protocol": "tcp", "ports": 81}}
    }  # fmt: skip
    lab.put(base)

    def hits() -> dict[str, int]:
        return {place.rpartition("/")[2]: count["packets"] for place, count in lab.get("/v1/hits").items()}

    def more(**named: object) -> None:
        lab.patch({"firewall": {"ingress": {"rules": named}}})

    for _ in range(3):
        assert lab["net"].ask(FORWARDS, 8790)
    assert lab["net"].ask(STATIC, 80)
    assert lab["vm1"].refused(WEB, 81) and lab["net"].refused(PUBLIC, 8790)
    seen = hits()
    assert (seen["web"], seen["static"], seen["never"]) == (3, 1, 0)
    assert seen["no"] >= 1, "each try to connect is one"
    # Rules that overlap cut others' elements anew, a rule that logs makes the whole table anew.
    more(wide=rule(FORWARDS, "8700-8800", source_cidrs=["203.0.113.0/24"]))
    assert lab["net"].ask(FORWARDS, 8790)
    seen = hits()
    assert (seen["web"], seen["wide"], seen["static"]) == (4, 1, 1), "what both are about counts for both"
    more(log=rule(FORWARDS, 8443, log=True))
    assert hits()["web"] == 4
    more(wide=None)
    assert lab["net"].ask(FORWARDS, 8790)
    assert hits()["web"] == 5
    assert lab.drift() == []
    more(web=None)
    more(web=rules["web"])
    assert hits()["web"] == 0, "a rule that comes again begins anew"


def test_a_rule_of_the_firewalls_logs_what_it_decides_about(lab: Lab) -> None:
    base = document()
    base["firewall"]["ingress"]["rules"]["web"]["log"] = True
    base["firewall"]["egress"]["guest0"]["rules"] = {
        "mail": {"verdict": "drop", "protocol": "tcp", "ports": 25, "log": True}
    }
    lab.put(base)
    assert lab["net"].ask(FORWARDS, 8080) == "vm1:80 saw 203.0.113.1", "it accepts all the same"
    assert lab["vm1"].refused(WEB, 25)

    def logged() -> bool:
        text = lab.run("journalctl", "--unit", "sysvm-ulogd", "--output", "cat", "--no-pager")
        lines = text.splitlines()
        return any("accept ingress/web " in line and f"DST={FORWARDS}" in line for line in lines) and any(
            "drop guest0/mail " in line and f"DST={WEB}" in line for line in lines
        )

    until(logged, what="a line for each")
    explained = lab.request(
        "POST", "/v1/explain", {"from": WEB, "to": FORWARDS, "protocol": "tcp", "port": 8080}
    ).json
    assert (explained["outcome"], explained["pointer"]) == ("forwarded", "/firewall/ingress/rules/web")
    assert lab.drift() == []
