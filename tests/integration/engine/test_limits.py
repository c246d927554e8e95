"""Limit objects and verdicts in maps: changed by the piece, and nobody's else disturbed."""

from typing import Any

import pytest

from appliance.engine import plan as planning
from appliance.engine.host import Host
from appliance.engine.transaction import converge
from appliance.resources import Limit, Ruleset
from tests.integration.engine.conftest import Run

TEXT = """table inet sysvm_limits {
    map rates { type ipv4_addr : limit; }
    map classes { type ether_addr : verdict; }
    set seen { type ether_addr; size 100; flags dynamic; }
    chain few {
        add @seen { ether saddr ct count over 5 } drop
    }
    chain input {
        type filter hook input priority 0; policy accept;
        ether saddr vmap @classes
        limit name ip saddr map @rates drop
    }
}
"""


def wanted(**rates: int) -> Ruleset:
    return Ruleset(
        table="sysvm_limits",
        text=TEXT,
        elements={
            "rates": {f"10.0.0.{name[1:]}": name for name in rates},
            "classes": {"02:00:00:00:00:01": "goto few"},
        },
        limits={name: Limit(rate, 131072) for name, rate in rates.items()},
    )


def plan(ruleset: Ruleset, host: Host) -> list[str]:
    return [change.detail for change in planning.make([ruleset], host, fresh=True).changes]


@pytest.mark.parametrize("rate", [8000, 1024 * 1024, 1500 * 1024, 12_500_000_000])
def test_what_the_kernel_lists_is_what_was_wanted(host: Host, rate: int) -> None:
    converge([wanted(g1=rate)], host)
    assert plan(wanted(g1=rate), host) == []


def test_a_changed_rate_is_two_elements(host: Host, run: Run) -> None:
    converge([wanted(g1=10_000, g2=20_000)], host)
    outcome = converge([wanted(g1=30_000, g2=20_000, g3=5_000)], host)
    assert [change.detail for change in outcome.plan.changes] == ["2 elements come, 1 go"]
    assert plan(wanted(g1=30_000, g2=20_000, g3=5_000), host) == []
    assert "rate over 30000 bytes/second" in run("nft", "list", "limits")
    converge([wanted(g2=20_000)], host)
    assert "30000" not in run("nft", "list", "limits")
    assert plan(wanted(g2=20_000), host) == []


def test_what_packets_fill_is_left_alone(host: Host, run: Run) -> None:
    converge([wanted()], host)
    run("nft", "add", "element", "inet", "sysvm_limits", "seen", "{ 02:00:00:00:00:09 ct count over 5 }")
    assert plan(wanted(), host) == []
    converge([wanted(g1=10_000)], host)
    assert "02:00:00:00:00:09" in run("nft", "list", "set", "inet", "sysvm_limits", "seen")


def test_what_others_take_away_comes_back(host: Host, run: Run) -> None:
    def harmed(*commands: str) -> list[str]:
        converge([wanted(g1=10_000)], host)
        run("nft", "; ".join(commands))
        before = plan(wanted(g1=10_000), host)
        converge([wanted(g1=10_000)], host, fresh=True)
        assert plan(wanted(g1=10_000), host) == []
        return before

    table = "inet sysvm_limits"
    assert harmed(f"delete element {table} rates {{ 10.0.0.1 }}")
    assert harmed(f"delete element {table} rates {{ 10.0.0.1 }}", f"delete limit {table} g1")
    assert harmed(f"add limit {table} other {{ rate over 5 bytes/second; }}")
    assert harmed(f"delete table {table}")


def test_the_table_goes_when_nobody_wants_it(host: Host, run: Run) -> None:
    converge([wanted(g1=10_000)], host)
    converge([], host)
    assert "sysvm_limits" not in run("nft", "list", "tables")


def test_one_table_s_change_does_not_have_the_other_listed_anew(host: Host, monkeypatch: Any) -> None:
    other = Ruleset(
        table="sysvm", text="table inet sysvm { set s { type ipv4_addr; }\n}", elements={"s": {}}
    )
    converge([other, wanted(g1=10_000)], host)
    listed: list[str] = []
    listing = host.nft.listing

    def noted(command: str, **options: bool) -> Any:
        listed.append(command)
        return listing(command, **options)

    monkeypatch.setattr(host.nft, "listing", noted)
    converge([other, wanted(g1=30_000)], host)
    assert "table inet sysvm" not in listed
