"""Flows end with what let them in: access lists, udp load balancers, source NAT. All others go on."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from router_lab import until
from traffic import connected, silent, told
from vpc_lab import BRANCH, FIRST, TIERS, TIERS6, WEB, VpcLab, document, rule, with_list

PORT, OTHER = 5004, 5005
Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def lab(vpc: VpcLab) -> VpcLab:
    vpc.ready()
    vpc.put(document())
    return vpc


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as entered:
        yield entered


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast path", "chains"])
def test_what_a_list_lets_in_no_more_ends_and_nothing_else(
    lab: VpcLab, stack: ExitStack, fast_path: bool
) -> None:
    rules = {
        "first": rule(10, "accept", protocol="tcp", ports=[PORT], cidrs=["10.2.1.0/24", "fd00:2:1::/64"]),
        "branch": rule(20, "accept", protocol="tcp", ports=[PORT], cidrs=["172.16.0.0/24"]),
        "third": rule(30, "accept", protocol="tcp", ports=[f"{PORT}-{OTHER}"], cidrs=["10.2.3.0/24"]),
        "again": rule(40, "accept", protocol="tcp", ports=[OTHER], cidrs=["10.2.0.0/16"]),
    }
    wanted = {**with_list("guest1", rules), "fast_path": fast_path}
    lab.put(wanted)

    def connect(client: str, address: str, port: int, server: str) -> Ends:
        return stack.enter_context(connected(lab[client], address, port, lab[server]))

    ends = {
        "first": connect("a", TIERS["b"], PORT, "b"),
        "first by IPv6": connect("a", TIERS6["b"], PORT, "b"),
        "branch": connect("branch", TIERS["b"], PORT, "b"),
        "third": connect("c", TIERS["b"], PORT, "b"),
        "third, other port": connect("c", TIERS["b"], OTHER, "b"),
        "back": connect("b", TIERS["a"], OTHER, "a"),
        "out": connect("b", WEB, OTHER, "net1"),
    }
    alive = set(ends)

    def own(**rules: Any) -> dict[str, Any]:
        return {"acls": {"own": {"rules": rules}}}

    deny = rule(1, "drop", protocol="tcp", ports=[OTHER], cidrs=["10.2.3.0/24"])
    for patch, ending in (
        # What comes and what makes no difference end nothing.
        (own(more=rule(5, "accept", protocol="udp")), set()),
        (own(last=rule(900, "drop")), set()),
        (own(first=None), {"first", "first by IPv6"}),
        (own(third={"ports": [OTHER]}), {"third"}),
        (own(third=None), set()),
        (own(deny=deny), {"third, other port"}),
        (own(out=rule(1, "drop", "egress", protocol="tcp", ports=[OTHER], cidrs=[f"{WEB}/32"])), {"out"}),
        ({"acls": {"open": {"egress_policy": "drop"}}}, set()),
        ({"tiers": {"guest1": {"acl": "closed"}}}, {"branch"}),
        ({"acls": {"open": {"ingress_policy": "drop"}}}, {"back"}),
    ):
        lab.patch(patch)
        alive -= ending
        for name, (here, there) in ends.items():
            if name in alive:
                assert told(here, there) and told(there, here), (name, patch)
            elif name in ending:
                # Nor does the far end, which knows nothing of it, begin it anew.
                assert silent(there, here) and silent(here, there), (name, patch)
        assert lab.drift() == []


def test_a_crash_after_the_change_is_made_up_for(lab: VpcLab, stack: ExitStack) -> None:
    rules = {"first": rule(10, "accept", protocol="tcp", ports=[PORT])}
    lab.put(with_list("guest1", rules))
    here, there = stack.enter_context(connected(lab["a"], TIERS["b"], PORT, lab["b"]))
    assert told(here, there)
    # What a transaction leaves that dies right behind itself: the list is another one, and noted is the old.
    lab.sh("rm /run/sysvm/engine/gates.json")
    lab.sh("nft delete element inet sysvm acl_own_ingress_0_ports4 "
           f"'{{ {PORT} . 6 . 0.0.0.0/0 }}'")  # fmt: skip
    lab.patch({"acls": {"own": {"rules": {"first": None}}}})
    assert silent(there, here) and silent(here, there)
    assert lab.drift() == []


def test_flows_of_a_udp_load_balancer_end_with_it_or_with_their_server(lab: VpcLab) -> None:
    wanted = document()
    servers = {"one": {"address": TIERS["a"], "port": 81}, "two": {"address": TIERS["b"], "port": 81}}
    wanted["load_balancers"] = {
        "names": {"address": FIRST, "port": 5353, "mode": "udp", "servers": servers},
        "others": {"address": FIRST, "port": 5354, "mode": "udp", "servers": {"one": servers["one"]}},
    }
    lab.put(wanted)
    for name in ("a", "b"):
        lab.serve(name, 81, udp=True)

    def flow(port: int) -> tuple[socket.socket, str]:
        asking = lab["net0"].socket(socket.SOCK_DGRAM)
        asking.connect((FIRST, port))
        return asking, answer(asking)

    def answer(asking: socket.socket) -> str:
        asking.settimeout(1)
        for _ in range(3):
            try:
                asking.send(b"?")
                return asking.recv(100).decode().partition(" ")[0]
            except OSError:
                continue
        return ""

    flows: dict[str, socket.socket] = {}
    until(lambda: flows.update([flow(5353)[::-1]]) or {"a:81", "b:81"} <= flows.keys(),
          what="flows to both servers")  # fmt: skip
    other, by = flow(5354)
    assert by == "a:81"
    lab.patch({"load_balancers": {"names": {"servers": {"two": {"state": "drain"}}}}})
    assert answer(flows["b:81"]) == "b:81", "what is drained keeps its flows"
    lab.patch({"load_balancers": {"names": {"servers": {"two": None}}}})
    assert answer(flows["b:81"]) == "a:81", "a new flow, to who is left"
    assert answer(flows["a:81"]) == "a:81"
    lab.patch({"load_balancers": {"names": None}})
    assert answer(flows["a:81"]) == ""
    assert answer(other) == "a:81"
    assert lab.drift() == []


def test_another_source_nat_address_is_for_flows_that_are_there_too(lab: VpcLab, stack: ExitStack) -> None:
    first = stack.enter_context(connected(lab["a"], WEB, PORT, lab["net0"]))
    third = stack.enter_context(connected(lab["c"], WEB, OTHER, lab["net0"]))
    assert told(*first) and told(*third)
    lab.patch({"source_nat": {"guest0": {"address": "203.0.113.3"}}})
    assert silent(*first)
    assert told(*third)
    assert lab.drift() == []


def test_a_private_network_keeps_its_flows_while_a_tiers_list_changes(lab: VpcLab, stack: ExitStack) -> None:
    lab.put(with_list("guest0", {"a": rule(1, "accept", "egress", protocol="tcp", cidrs=["172.16.0.0/12"])},
                      egress_policy="drop"))  # fmt: skip
    branch = stack.enter_context(connected(lab["a"], BRANCH, PORT, lab["branch"]))
    assert told(*branch)
    lab.patch({"acls": {"own": {"rules": {"a": {"cidrs": [f"{BRANCH}/32"]}}}}})
    assert told(*branch)
    lab.patch({"acls": {"own": {"rules": {"a": {"cidrs": ["172.21.0.0/16"]}}}}})
    assert silent(*branch)
