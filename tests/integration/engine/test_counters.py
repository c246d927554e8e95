"""Counters of guests: by the piece, of either family, and kept while others come and go."""

from typing import Any

from appliance.engine import counter
from appliance.engine import plan as planning
from appliance.engine.host import Host
from appliance.engine.transaction import converge
from appliance.resources import Counter, Ruleset
from tests.integration.engine.conftest import Run

NETWORK = Counter(kind="network", of="guest0")
TABLE = Ruleset(table="sysvm", text="table inet sysvm {\n set s { type ipv4_addr; }\n}", elements={"s": {}})


def guest(address: str) -> Counter:
    return Counter(kind="guest", of=address, network="guest0")


def changes(wanted: list[Counter], host: Host) -> list[str]:
    return [change.detail for change in planning.make(wanted, host, fresh=True).changes]


def test_guests_of_either_family_come_and_go(host: Host, run: Run) -> None:
    first = [NETWORK, guest("10.1.1.10"), guest("fd00::10")]
    converge(first, host)
    assert changes(first, host) == []
    assert {"guest-10.1.1.10", "guest-fd00::10", "network-guest0"} <= counter.read(host).keys()
    second = [NETWORK, guest("fd00::10"), guest("10.1.1.11")]
    converge(second, host)
    assert changes(second, host) == []
    assert "guest-10.1.1.10" not in counter.read(host)
    run("nft", "delete", "element", "inet", "sysvm_usage", "guest_sent", "{ 10.1.1.11 }")
    assert changes(second, host) == ["guest 10.1.1.11"]
    converge(second, host, fresh=True)
    assert changes(second, host) == []
    # One whose element somebody took away goes all the same.
    run("nft", "delete", "element", "inet", "sysvm_usage", "guest6_sent", "{ fd00::10 }")
    converge([NETWORK], host, fresh=True)
    assert counter.read(host).keys() == {"network-guest0"} | {
        name for name in counter.read(host) if name.endswith(" netdev")
    }


def test_many_come_in_one_step(host: Host) -> None:
    many = [NETWORK, *(guest(f"10.1.{n >> 8}.{n & 255}") for n in range(500))]
    outcome = converge(many, host)
    created = [change.detail for change in outcome.plan.changes if change.action == "create"]
    assert any("and 497 more" in detail for detail in created)
    assert changes(many, host) == []


def test_they_are_exact(host: Host, run: Run) -> None:
    """What the library lists and what we read from the kernel ourselves is the same."""
    converge([NETWORK, guest("127.0.0.1")], host)
    run("ip", "link", "set", "lo", "up")
    place = ("inet", "sysvm_usage", "here")
    run("nft", "add", "chain", *place, "{ type filter hook output priority 0; }")
    run("nft", "add", "rule", *place, "counter name ip saddr map @guest_sent")
    run("ping", "-c", "3", "-i", "0.2", "127.0.0.1")
    (sent,) = [
        item["counter"]
        for item in host.nft.listing("counters table inet sysvm_usage")
        if item.get("counter", {}).get("name") == "guest-127.0.0.1-sent"
    ]
    assert sent["packets"] > 0
    assert counter.read(host)["guest-127.0.0.1"]["sent"] == {
        "bytes": sent["bytes"],
        "packets": sent["packets"],
    }


def test_others_changes_don_t_have_the_table_listed_anew(host: Host, run: Run, monkeypatch: Any) -> None:
    wanted = [NETWORK, guest("10.1.1.10")]
    converge([TABLE, *wanted], host)
    planning.make([TABLE, *wanted], host)
    listed: list[str] = []
    listing = host.nft.listing

    def noted(command: str, **options: bool) -> Any:
        listed.append(command)
        return listing(command, **options)

    monkeypatch.setattr(host.nft, "listing", noted)
    more = Ruleset(table="sysvm", text=TABLE.text, elements={"s": {"10.0.0.1": None}})
    converge([more, *wanted, guest("10.1.1.11")], host)
    assert not [command for command in listed if "sysvm_usage" in command and "netdev" not in command]
    # Somebody else's do.
    run("nft", "add", "table", "inet", "another")
    planning.make([more, *wanted], host)
    assert [command for command in listed if "sysvm_usage" in command]


def test_only_what_is_counted_is_looked_for(host: Host, run: Run) -> None:
    def looked_up() -> set[str]:
        text = run("nft", "list", "chain", "inet", "sysvm_usage", "forward")
        return {name for name in ("@network_sent", "@guest_sent", "@guest6_sent") if name in text}

    converge([NETWORK], host)
    assert looked_up() == {"@network_sent"}
    converge([NETWORK, guest("10.1.1.10")], host)
    assert looked_up() == {"@network_sent", "@guest_sent"}
    both = [NETWORK, guest("10.1.1.10"), guest("fd00::10")]
    converge(both, host, fresh=True)
    assert looked_up() == {"@network_sent", "@guest_sent", "@guest6_sent"}
    assert changes(both, host) == []
    converge([NETWORK], host)
    assert looked_up() == {"@network_sent"}
    assert changes([NETWORK], host) == []
