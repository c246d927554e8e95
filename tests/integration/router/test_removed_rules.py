"""With a rule its connections end, at once; all others go on."""

import socket
from contextlib import ExitStack

import pytest
from router_document import document
from router_lab import FAR, FORWARDS, STATIC, WEB, Lab
from traffic import connected

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
            # Rules that only come, and other sections, end nothing.
            ({"firewall": {"egress": {"guest0": {"rules": {
                "no": {"verdict": "drop", "protocol": "tcp", "ports": PORT}}}}}}, set()),
            ({"limits": {"usual": {"connections": 500}}}, set()),
        ):  # fmt: skip
            lab.patch(patch)
            alive -= ending
            assert {name for name in ends if passes(ends[name])} == alive, patch
            assert lab.drift() == []
