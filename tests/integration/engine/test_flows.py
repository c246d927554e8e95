"""Connections end with the rule that let them in: real ones, tracked by the kernel of a namespace."""

import re
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from appliance.admission import Admission
from appliance.engine import conntrack, flows
from appliance.engine import plan as planning
from appliance.engine.host import Host
from appliance.engine.transaction import converge
from appliance.resources import Ruleset
from tests.integration.engine.conftest import Run

TEXT = """table inet sysvm {
    set accept_ports { type inet_service . inet_proto; flags interval; }
    map forward { type inet_service : ipv4_addr . inet_service; }
    chain translate {
        type nat hook output priority -100; policy accept;
        dnat ip to tcp dport map @forward
    }
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established accept
        ct status dnat accept
        th dport . meta l4proto @accept_ports accept
    }
}
"""


def wanted(*ports: str, **forwards: int) -> Ruleset:
    return Ruleset(
        table="sysvm",
        text=TEXT,
        elements={
            "accept_ports": {f"{port} . 6": None for port in ports},
            "forward": {name[1:]: f"127.0.0.1 . {port}" for name, port in forwards.items()},
        },
        admissions={
            "accept_ports": Admission("accept", ("port", "protocol")),
            "forward": Admission("forward", ("port",), ("reply_source", "reply_port")),
        },
    )


@pytest.fixture
def connect(host: Host, run: Run) -> Iterator[dict[int, socket.socket]]:
    """A socket by port asked for, once it is connected."""
    run("ip", "link", "set", "lo", "up")
    doors = [socket.create_server(("127.0.0.1", port)) for port in (1001, 1002, 1003)]
    found: dict[int, socket.socket] = {}

    class Connected(dict[int, socket.socket]):
        def __missing__(self, port: int) -> socket.socket:
            made = socket.create_connection(("127.0.0.1", port), timeout=3)
            found[port] = made
            return made

    yield Connected()
    for each in (*doors, *found.values()):
        each.close()


def tracked() -> list[int]:
    """Ports that established connections were made to."""
    return sorted(each.original.port for each in conntrack.connections() if each.state == "ESTABLISHED")


def test_only_those_of_the_removed_rule(host: Host, connect: dict[int, socket.socket]) -> None:
    converge([wanted("1001", "1002", _2000=1003)], host)
    for port in (1001, 1002, 2000):
        assert connect[port].fileno() > 0
    assert tracked() == [1001, 1002, 2000]
    converge([wanted("1001", _2000=1003)], host)
    assert tracked() == [1001, 2000]
    converge([wanted("1001")], host)
    assert tracked() == [1001]
    # A range that has it stands for it.
    converge([wanted("1000-1001")], host)
    assert tracked() == [1001]
    converge([wanted()], host)
    assert tracked() == []


def test_another_target_ends_it_and_a_new_structure_does_not(
    host: Host, connect: dict[int, socket.socket]
) -> None:
    converge([wanted("1001", _2000=1003)], host)
    assert connect[1001].fileno() and connect[2000].fileno()
    changed = wanted("1001", _2000=1003)
    text = TEXT.replace("ct status dnat accept", 'ct status dnat accept comment "another"')
    again = Ruleset(table="sysvm", text=text, elements=changed.elements, admissions=changed.admissions)
    converge([again], host)
    assert tracked() == [1001, 2000]
    moved = wanted("1001", _2000=1002)
    converge([Ruleset(table="sysvm", text=text, elements=moved.elements, admissions=moved.admissions)], host)
    assert tracked() == [1001]


def test_a_crash_between_the_two_is_made_up_for(host: Host, connect: dict[int, socket.socket]) -> None:
    converge([wanted("1001", "1002")], host)
    assert connect[1001].fileno() and connect[1002].fileno()
    changes = planning.make([wanted("1001")], host).changes
    ending, flows.end = flows.end, lambda ruleset, host: 0  # type: ignore[assignment]
    try:
        for change in changes:
            change.run()
    finally:
        flows.end = ending
    assert tracked() == [1001, 1002]
    (left,) = planning.make([wanted("1001")], Host(generated=host.generated), fresh=True).changes
    assert left.detail == "connections end that removed rules let in"
    converge([wanted("1001")], host)
    assert tracked() == [1001]
    assert planning.make([wanted("1001")], host, fresh=True).changes == ()


def test_many_are_told_apart_quickly(host: Host, connect: dict[int, socket.socket]) -> None:
    ports = [str(port) for port in range(1001, 6001)]
    converge([wanted(*ports)], host)
    assert connect[1001].fileno() and connect[1002].fileno()
    converge([wanted(*[port for port in ports if port != "1002"])], host)
    assert tracked() == [1001]


def test_the_far_end_does_not_begin_it_anew(host: Host, run: Run) -> None:
    """Though rules allow that way, and though the kernel would take its next packet for a beginning."""
    run("ip", "link", "set", "lo", "up")
    text = TEXT.replace(
        "    chain input {",
        "    set ended4 { type ipv4_addr . inet_service . ipv4_addr . inet_service; flags timeout; }\n"
        "    set ended6 { type ipv6_addr . inet_service . ipv6_addr . inet_service; flags timeout; }\n"
        "    chain input {",
    ).replace(
        "ct status dnat accept",
        "tcp flags & syn == 0 ip saddr . tcp sport . ip daddr . tcp dport @ended4 drop\n"
        "        tcp sport 1001 accept",
    )
    for ended, answered in (((), True), (("ended4", "ended6"), False)):
        with socket.create_server(("127.0.0.1", 1001)) as door:
            converge([replace(wanted("1001"), text=text, ended=ended)], host)
            here = socket.create_connection(("127.0.0.1", 1001), timeout=3)
            there, _ = door.accept()
            converge([replace(wanted(), text=text, ended=ended)], host)
            assert tracked() == []
            there.sendall(b"x")
            here.settimeout(3 if answered else 1)
            try:
                assert (here.recv(1) == b"x") is answered
            except TimeoutError:
                assert not answered
            here.close(), there.close()
        # A plan looks at what is wanted, and these are nobody's wish.
        assert planning.make([replace(wanted(), text=text, ended=ended)], host, fresh=True).changes == ()


def test_ending_what_is_gone_is_no_error(host: Host, connect: dict[int, socket.socket]) -> None:
    converge([wanted("1001")], host)
    assert connect[1001].fileno()
    (connection,) = [each for each in conntrack.connections() if each.original.port == 1001]
    assert conntrack.end([connection]) == 1
    assert conntrack.end([connection]) == 0


ENDED = """table inet sysvm {
    set ended4 { type ipv4_addr . inet_service . ipv4_addr . inet_service; flags timeout; timeout 15m; }
    chain input { type filter hook input priority 0; policy %s; }
}
"""


def test_answers_that_are_refused_stay_so_when_the_table_is_made_anew(host: Host, run: Run) -> None:
    def table(policy: str) -> Ruleset:
        return Ruleset(table="sysvm", text=ENDED % policy, ended=("ended4", "ended6"))

    converge([table("accept")], host)
    noted = "add element inet sysvm ended4 { 192.0.2.1 . 80 . 192.0.2.2 . 4000 timeout 100s }"
    run("nft", noted)
    assert not planning.make([table("accept")], host, fresh=True).changes
    converge([table("drop")], host)
    listed = run("nft", "list", "set", "inet", "sysvm", "ended4")
    assert "192.0.2.1 . 80 . 192.0.2.2 . 4000 timeout" in listed and "policy drop" in run(
        "nft", "list", "ruleset"
    )
    assert re.search(r" timeout 1m[34]\d", listed), listed
    assert not planning.make([table("drop")], host, fresh=True).changes
