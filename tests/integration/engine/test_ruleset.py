"""The nft table: made, grown by elements, swapped with its structure, healed when others touch it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from appliance.engine import plan as planning
from appliance.engine.checker import CheckError
from appliance.engine.host import Host
from appliance.engine.transaction import Outcome, converge
from appliance.resources import Counter, Resource, Ruleset
from appliance.roles import resources
from tests.examples import NAMES, document
from tests.integration.engine.conftest import Run

STRUCTURE = """table inet sysvm {
    set ports { type inet_proto . inet_service; flags interval; }
    map targets { type ipv4_addr : ipv4_addr; }
    chain input {
        type filter hook input priority filter; policy accept;
        meta l4proto . th dport @ports counter accept
    }
}
"""
Elements = Mapping[str, Mapping[str, str | None]]


def ruleset(*, text: str = STRUCTURE, **targets: str) -> Ruleset:
    plain: dict[str, str | None] = {
        key.replace("_", ".").strip("."): value for key, value in targets.items()
    }
    return Ruleset(
        table="sysvm", text=text, elements={"ports": {"6 . 22": None, "17 . 10-20": None}, "targets": plain}
    )


def steps(wanted: Resource, host: Host, *, fresh: bool = False) -> list[str]:
    changes = planning.make([wanted], host, fresh=fresh).changes
    return [f"{change.action} {change.name} {change.detail}" for change in changes]


def listed(run: Run, *command: str) -> list[dict[str, Any]]:
    """What the kernel has, less its handles and counts."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: plain(item) for key, item in value.items() if key not in ("handle", "packets", "bytes")
            }
        if isinstance(value, list):
            return [plain(item) for item in value]
        return value

    def ordered(item: dict[str, Any]) -> dict[str, Any]:
        for kind in ("set", "map"):
            if "elem" in item.get(kind, {}):
                # Concatenated ranges are listed in the order in which they came.
                item[kind]["elem"].sort(key=repr)
        return item

    listing = json.loads(run("nft", "-j", "list", *(command or ("ruleset",))))["nftables"]
    return [ordered(plain(item)) for item in listing if "metainfo" not in item]


def apply(wanted: Resource, host: Host) -> Outcome:
    return converge([wanted], host)


def test_made_once(host: Host) -> None:
    wanted = ruleset(_10_0_0_1="10.1.1.1")
    assert [change.action for change in apply(wanted, host).plan.changes] == ["create"]
    assert apply(wanted, host).plan.changes == ()
    assert steps(wanted, host, fresh=True) == []
    assert steps(wanted, Host(generated=host.generated), fresh=True) == [], "an engine started anew agrees"


def test_an_element_is_an_element_change(host: Host, run: Run) -> None:
    apply(ruleset(_10_0_0_1="10.1.1.1"), host)
    before = run("nft", "-a", "list", "chain", "inet", "sysvm", "input")
    more = ruleset(_10_0_0_1="10.1.1.2", _10_0_0_2="10.1.1.1")
    assert steps(more, host) == ["update sysvm 2 elements come, 1 go"]
    apply(more, host)
    assert run("nft", "-a", "list", "chain", "inet", "sysvm", "input") == before, "the chain is the same one"
    assert steps(more, host, fresh=True) == []
    assert "10.0.0.1 : 10.1.1.2" in run("nft", "list", "map", "inet", "sysvm", "targets")


def test_structure_is_swapped(host: Host, run: Run) -> None:
    apply(ruleset(_10_0_0_1="10.1.1.1"), host)
    other = ruleset(text=STRUCTURE.replace("policy accept", "policy drop"), _10_0_0_1="10.1.1.1")
    (step,) = steps(other, host)
    assert "in one transaction" in step
    apply(other, host)
    assert "policy drop" in run("nft", "list", "table", "inet", "sysvm")
    assert steps(other, host, fresh=True) == []


TAMPERING = {
    "a rule more": "insert rule inet sysvm input tcp dport 23 accept",
    "a chain more": "add chain inet sysvm extra",
    "a set more": "add set inet sysvm extra { type ipv4_addr; }",
    "no rules": "flush chain inet sysvm input",
    "an element more": "add element inet sysvm ports { 6 . 23 }",
    "an element less": "delete element inet sysvm ports { 6 . 22 }",
    "an element else": "delete element inet sysvm targets { 10.0.0.1 }; "
    "add element inet sysvm targets { 10.0.0.1 : 10.9.9.9 }",
    "no elements": "flush set inet sysvm ports",
    "another policy": "chain inet sysvm input { policy drop; }",
    "no table": "delete table inet sysvm",
    "nothing at all": "flush ruleset",
}


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("what", TAMPERING)
def test_what_others_did_is_found_and_healed(host: Host, run: Run, what: str, fresh: bool) -> None:
    wanted = ruleset(_10_0_0_1="10.1.1.1")
    apply(wanted, host)
    before = listed(run)
    run("nft", TAMPERING[what])
    assert listed(run) != before
    assert steps(wanted, host, fresh=fresh), "the generation number tells, also without a fresh look"
    apply(wanted, host)
    assert listed(run) == before
    assert steps(wanted, host, fresh=True) == []


def test_other_tables_are_others(host: Host, run: Run) -> None:
    run(
        "nft",
        "add table inet filter; add chain inet filter x; add rule inet filter x counter; add table ip sysvm",
    )
    foreign = listed(run)
    for wanted in (ruleset(_10_0_0_1="10.1.1.1"), ruleset(text=STRUCTURE.replace("accept", "drop"))):
        apply(wanted, host)
        run("nft", "add rule inet filter x accept")
        assert steps(wanted, host) == []
    converge([], host)
    assert [item for item in listed(run) if "rule" not in item] == [
        item for item in foreign if "rule" not in item
    ]


def test_a_refused_structure_touches_nothing(host: Host, run: Run) -> None:
    apply(ruleset(_10_0_0_1="10.1.1.1"), host)
    before = run("nft", "-a", "list", "ruleset")
    with pytest.raises(CheckError, match="nft table sysvm"):
        apply(ruleset(text=STRUCTURE.replace("accept", "jump nowhere")), host)
    assert run("nft", "-a", "list", "ruleset") == before


def test_counters_count_exactly_and_outlive_swaps(host: Host, run: Run) -> None:
    from appliance.engine import counter

    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "public0", "type", "veth", "peer", "name", "outside")
    run("ip", "link", "set", "outside", "up")
    run("ip", "address", "add", "203.0.113.5/24", "dev", "public0")
    run("ip", "link", "set", "public0", "up")
    run("ip", "neighbour", "add", "203.0.113.9", "lladdr", "02:00:00:00:00:09", "dev", "public0")
    usage = Counter(kind="address", of="203.0.113.5")
    converge([ruleset(), usage], host)
    sender = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    sender += "for _ in range(10): s.sendto(b'x' * 72, ('203.0.113.9', 9))"
    swapped = [ruleset(), ruleset(text=STRUCTURE.replace("accept", "drop")), ruleset(_10_0_0_1="10.1.1.1")]
    for number, wanted in enumerate(swapped, start=1):
        run("python3", "-c", sender)
        converge([wanted, usage, Counter(kind="network", of=f"guest{number}")], host)
        sent = counter.read(host)["address-203.0.113.5"]["sent"]
        assert sent == {"packets": 10 * number, "bytes": 1000 * number}
    assert "network-guest1" not in counter.read(host), "a counter that nobody wants is gone"
    converge([ruleset(), Counter(kind="network", of="guest0")], host)
    assert list(counter.read(host)) == ["network-guest0"]


@pytest.mark.parametrize("second", NAMES)
@pytest.mark.parametrize("first", NAMES)
def test_one_example_after_another_is_that_example(host: Host, run: Run, first: str, second: str) -> None:
    def rules(name: str) -> list[Ruleset]:
        return [item for item in resources(document(name)) if isinstance(item, Ruleset)]

    converge(rules(first), host)
    converge(rules(second), host)
    after_first = listed(run)
    assert planning.make(rules(second), host, fresh=True).changes == ()
    run("nft", "flush", "ruleset")
    converge(rules(second), host)
    # Objects are listed as they came, rules are not.
    assert sorted(map(repr, listed(run))) == sorted(map(repr, after_first))


COUNTING = STRUCTURE.replace("ipv4_addr : ipv4_addr;", "ipv4_addr : verdict; counter;")
MORE = COUNTING.replace(
    "        meta l4proto", "        ip saddr vmap @second\n        meta l4proto"
).replace(
    "    chain input",
    "    map second { type ipv4_addr : verdict; }\n    chain kept {\n        drop\n    }\n    chain input",
)


def test_few_sets_and_chains_change_in_place(host: Host, run: Run) -> None:
    def made(text: str, **elements: dict[str, str | None]) -> Ruleset:
        ports: dict[str, str | None] = {"6 . 22": None}
        return Ruleset(table="sysvm", text=text, elements={"ports": ports, **elements})

    def head() -> str:
        return run("nft", "-a", "list", "chain", "inet", "sysvm", "input").splitlines()[1]

    few = made(COUNTING, targets={"10.0.0.1": "drop"})
    several = made(
        MORE,
        targets={"10.0.0.1": "drop", "10.0.0.2": "goto kept"},
        second={"10.0.0.1": "drop", "10.0.0.3": "goto kept"},
    )
    apply(few, host)
    before = head()
    run("nft", "delete element inet sysvm targets { 10.0.0.1 }; "
        "add element inet sysvm targets { 10.0.0.1 counter packets 5 bytes 50 : drop }")  # fmt: skip
    (step,) = steps(several, host)
    assert step == "update sysvm 3 sets and chains come or change, 0 go; 3 elements come, 0 go"
    apply(several, host)
    assert steps(several, host, fresh=True) == []
    assert steps(several, Host(generated=host.generated), fresh=True) == [], "an engine started anew agrees"
    assert head() == before, "the chain is the same one"
    assert "packets 5 bytes 50" in run("nft", "list", "map", "inet", "sysvm", "targets")
    # And back, with a chain that an element leads to.
    apply(few, host)
    assert steps(few, host, fresh=True) == []
    assert head() == before
    assert "packets 5 bytes 50" in run("nft", "list", "map", "inet", "sysvm", "targets")
    assert "kept" not in run("nft", "list", "table", "inet", "sysvm")
    patched = listed(run, "table", "inet", "sysvm")
    run("nft", "delete", "table", "inet", "sysvm")
    apply(few, host)
    assert patched == listed(run, "table", "inet", "sysvm")


def test_what_somebody_changed_is_made_anew_as_a_whole(host: Host, run: Run) -> None:
    apply(ruleset(_10_0_0_1="10.1.1.1"), host)
    run("nft", "add", "rule", "inet", "sysvm", "input", "tcp", "dport", "23", "accept")
    more = ruleset(text=STRUCTURE.replace("    chain", "    chain more {\n        drop\n    }\n    chain"))
    (step,) = steps(more, host)
    assert "in one transaction" in step
    apply(more, host)
    assert "dport 23" not in run("nft", "list", "table", "inet", "sysvm")


def test_a_part_that_the_kernel_refuses_touches_nothing(host: Host, run: Run) -> None:
    apply(ruleset(_10_0_0_1="10.1.1.1"), host)
    before = run("nft", "-a", "list", "ruleset")
    with pytest.raises(CheckError):
        apply(
            ruleset(
                text=STRUCTURE.replace("    chain", "    chain more {\n        jump none\n    }\n    chain")
            ),
            host,
        )
    assert run("nft", "-a", "list", "ruleset") == before
