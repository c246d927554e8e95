"""Load balancers of tcp and http for chosen sources: which elements, and that HAProxy has no part in it."""

from typing import Any

from appliance.agent.explanation import Stage
from appliance.agent.packet import Packet
from appliance.engine import load_balancers
from router import balanced_sources, explain
from router.balanced_sources import SETS
from tests.examples import document, read
from tests.unit.router.test_load_balancing import balancers, one


def elements(**fields: Any) -> dict[str, list[str]]:
    found = balanced_sources.elements(read(one(**fields)))
    assert list(found) == SETS
    return {name: list(items) for name, items in found.items() if items}


def test_who_is_for_everybody_or_of_udp_is_in_no_set() -> None:
    assert elements() == {}
    assert elements(mode="udp", source_cidrs=["192.0.2.0/24"]) == {}


def test_sources_as_nft_lists_them() -> None:
    assert elements(source_cidrs=["192.0.2.0/25", "192.0.2.128/25", "198.51.100.7/32", "192.0.2.9/32"]) == {
        "tcp_limited4": ["80 . 203.0.113.5"],
        "tcp_sources4": ["80 . 203.0.113.5 . 192.0.2.0/24", "80 . 203.0.113.5 . 198.51.100.7"],
    }
    found = elements(address="2001:db8::5", source_cidrs=["2001:db8:1::/48", "2001:db8::7/128"])
    assert found == {
        "tcp_limited6": ["80 . 2001:db8::5"],
        "tcp_sources6": ["80 . 2001:db8::5 . 2001:db8::7", "80 . 2001:db8::5 . 2001:db8:1::/48"],
    }


def test_another_source_is_no_reload() -> None:
    digests = {load_balancers.digest(balancers(one(source_cidrs=cidrs))) for cidrs in ([], ["192.0.2.0/24"])}
    assert len(digests) == 1


def test_the_line_behind_a_refusal() -> None:
    packet = Packet("10.1.17.9", "203.0.113.5", 6, 61000, 443)
    rule = "tcp dport . ip daddr @tcp_limited4 tcp dport . ip daddr . ip saddr != @tcp_sources4 drop"
    refused = Stage("sysvm", "input", rule, "drop", packet, "guest1", "")
    assert explain.origins(document("everything"), refused) == ["/load_balancers/shop/source_cidrs"]
