"""Access lists as verdict maps."""

import ipaddress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from appliance.model import merge_patch
from router import acl
from router.acl_match import MATCHES
from router.document import RouterDocument
from tests.examples import document

BASE = {"role": "router", "name": "r1", "generation": 1}


def compiled(rules: dict[str, Any], **fields: Any) -> dict[str, acl.Direction]:
    made = RouterDocument.model_validate({**BASE, "acls": {"a": {"rules": rules, **fields}}})
    return {direction.chain: direction for direction in acl.directions(made)}


def rule(number: int, **fields: Any) -> dict[str, Any]:
    return {"number": number, "direction": "ingress", "verdict": "accept", **fields}


def filled(direction: acl.Direction) -> dict[str, dict[str, str]]:
    begin = direction.chain + "_"
    return {name.removeprefix(begin): dict(keys) for name, keys in direction.elements.items() if keys}


def test_each_kind_of_match() -> None:
    found = compiled(
        {
            "web": rule(1, protocol="tcp", ports=[80, "8000-8010", "8005-8100"], cidrs=["10.0.0.0/8"]),
            "dns": rule(2, protocol="udp", ports=[53], cidrs=["fd00::/8", "10.1.1.1/32"]),
            "ping": rule(3, protocol="icmp", icmp_type=8, cidrs=["10.0.0.0/9", "10.128.0.0/9"]),
            "too-big": rule(4, protocol="icmpv6", icmp_type=2, icmp_code=0, cidrs=["fd00::1/128"]),
            "gre": rule(5, protocol=47, cidrs=["192.0.2.0/24"]),
            "rest": rule(9, verdict="drop", log=True),
        }
    )["acl_a_ingress"]
    assert filled(found) == {
        "0_ports4": {
            "80 . 6 . 10.0.0.0/8": "return",
            "8000-8100 . 6 . 10.0.0.0/8": "return",
            "53 . 17 . 10.1.1.1": "return",
        },
        "0_ports6": {"53 . 17 . fd00::/8": "return"},
        "0_icmp4": {"10.0.0.0/8 . 8 . 0-255": "return"},
        "0_icmp6": {"fd00::1 . 2 . 0": "return"},
        "0_protocol4": {"192.0.2.0/24 . 47": "return"},
        "1_protocol4": {"0.0.0.0/0 . 0-255": "goto logged_a/rest"},
        "1_protocol6": {"::/0 . 0-255": "goto logged_a/rest"},
    }
    assert found.policy == "drop"
    assert [(item.chain, item.title, item.verdict) for item in found.logged] == [
        ("logged_a/rest", "drop a/rest", "drop")
    ]


def test_what_is_first_wins_whatever_it_is_called() -> None:
    first = compiled({"z": rule(1, verdict="drop", protocol="tcp", ports=[22]), "a": rule(2)})[
        "acl_a_ingress"
    ]
    assert filled(first)["0_ports4"] == {"22 . 6 . 0.0.0.0/0": "drop"}
    assert filled(first)["1_protocol4"] == {"0.0.0.0/0 . 0-255": "return"}
    second = compiled({"z": rule(3, verdict="drop", protocol="tcp", ports=[22]), "a": rule(2)})[
        "acl_a_ingress"
    ]
    assert filled(second)["0_protocol4"] == {"0.0.0.0/0 . 0-255": "return"}
    assert filled(second)["1_ports4"] == {"22 . 6 . 0.0.0.0/0": "drop"}


def test_a_crowd_with_one_port_is_apart() -> None:
    cidrs = [f"10.{n // 128}.{n % 128 * 2}.1/32" for n in range(600)]
    found = compiled({"many": rule(1, protocol="tcp", ports=[443], cidrs=cidrs)})["acl_a_ingress"]
    assert set(filled(found)) == {"0_crowd4"}
    assert "10.0.2.1 . 6 . 443" in filled(found)["0_crowd4"]


def test_a_list_has_both_directions_and_room_for_its_first_rules() -> None:
    empty = compiled({})
    assert set(empty) == {"acl_a_ingress", "acl_a_egress"}
    for direction in empty.values():
        assert {(lookup.match, lookup.version) for lookup in direction.lookups} == {
            (match, version) for match in MATCHES for version in (4, 6)
        }


def test_elements_lead_back_to_their_rules() -> None:
    made = document("everything")
    found = acl.pointers(made)
    assert found["acl_front_ingress_0_ports4", "80 . 6 . 0.0.0.0/0"] == "/acls/front/rules/web"
    assert found["acl_back_egress_0_protocol4", "0.0.0.0/0 . 47"] == "/acls/back/rules/tunnel"
    assert len(found) == sum(
        len(elements) for name, elements in acl.elements(made).items() if name.startswith("acl_")
    )


cidrs4 = st.sampled_from(
    ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "10.1.1.7/32", "192.0.2.0/24"]
)
ports = st.sampled_from([[], [80], [22], ["20-30"], ["1-1000", 8080]])
rules = st.lists(
    st.fixed_dictionaries(
        {
            "verdict": st.sampled_from(["accept", "drop"]),
            "protocol": st.sampled_from(["tcp", "udp"]),
            "ports": ports,
            "cidrs": st.lists(cidrs4, max_size=2),
        }
    )
    | st.fixed_dictionaries(
        {
            "verdict": st.sampled_from(["accept", "drop"]),
            "protocol": st.sampled_from(["all", 6, 47]),
            "cidrs": st.lists(cidrs4, max_size=2),
        }
    ),
    max_size=10,
)


def listed(made: list[dict[str, Any]], source: str, protocol: int, port: int) -> str | None:
    """What a search of the list from its beginning finds."""
    for item in made:
        wanted = {"tcp": 6, "udp": 17}.get(str(item["protocol"]), item["protocol"])
        near = not item["cidrs"] or any(
            ipaddress.ip_address(source) in ipaddress.ip_network(cidr) for cidr in item["cidrs"]
        )
        spans = [tuple(map(int, str(text).split("-"))) for text in item.get("ports", [])]
        at = not spans or any(span[0] <= port <= span[-1] for span in spans)
        if wanted in ("all", protocol) and near and at:
            return "return" if item["verdict"] == "accept" else "drop"
    return None


def looked_up(direction: acl.Direction, source: str, protocol: int, port: int) -> str | None:
    """What the maps say, asked layer by layer as the chain asks them."""

    def matches(key: str, match: str) -> bool:
        parts = key.split(" . ")
        far = parts[2] if match == "ports" else parts[0]
        if ipaddress.ip_address(source) not in ipaddress.ip_network(far):
            return False
        if match == "ports":
            span = tuple(map(int, parts[0].split("-")))
            return int(parts[1]) == protocol and span[0] <= port <= span[-1]
        span = tuple(map(int, parts[1].split("-")))
        return span[0] <= protocol <= span[-1]

    for lookup in direction.lookups:
        if lookup.version == 4 and lookup.match in ("ports", "protocol"):
            for key, verdict in direction.elements[lookup.map].items():
                if matches(key, lookup.match):
                    return verdict
    return None


@given(rules)
def test_the_maps_say_what_the_list_says(made: list[dict[str, Any]]) -> None:
    named = {f"r{number}": rule(number + 1, **item) for number, item in enumerate(made)}
    found = compiled(named)["acl_a_ingress"]
    for source in ("10.1.1.7", "10.1.1.8", "10.1.2.1", "10.9.0.1", "192.0.2.1", "203.0.113.9"):
        for protocol, port in ((6, 22), (6, 80), (6, 8080), (6, 1001), (17, 22), (17, 8080), (47, 0)):
            assert looked_up(found, source, protocol, port) == listed(made, source, protocol, port)


def as_compared(direction: acl.Direction) -> tuple[Any, ...]:
    return direction.lookups, direction.logged, direction.elements, direction.owners, direction.policy


@given(rules, rules, st.data())
def test_what_is_patched_is_what_would_be_made_anew(
    first: list[dict[str, Any]], more: list[dict[str, Any]], data: st.DataObject
) -> None:
    """One list after another under one name, as patches make them; and each from nothing."""
    numbers = iter(data.draw(st.permutations(range(1, len(first) + len(more) + 1))))
    made = {f"r{number}": rule(next(numbers), **item) for number, item in enumerate(first)}
    running = RouterDocument.model_validate({**BASE, "acls": {"patched": {"rules": made}}})
    acl.directions(running)
    for number, item in enumerate(more):
        gone = data.draw(st.sampled_from([None, *running.acls["patched"].rules]))
        patch: dict[str, Any] = {f"m{number}": rule(next(numbers), **item)}
        if gone is not None:
            patch[gone] = None
        whole = merge_patch(running, {"acls": {"patched": {"rules": patch}}})
        running = RouterDocument.model_validate(whole)
        patched = [as_compared(direction) for direction in acl.directions(running)]
        acl._lists.clear()
        anew = RouterDocument.model_validate(running.model_dump(mode="json", exclude_unset=True))
        assert patched == [as_compared(direction) for direction in acl.directions(anew)]
