"""Several subnets on one guest link: each with its own gateway, leases, names and metadata."""

import socket
from collections.abc import Iterator
from typing import Any

import dhcp_clients
import pytest
from dhcp_clients import CLIENTS
from router_document import document
from router_lab import FORWARDS, PUBLIC, WEB, Lab, until

RESERVED, FREE, OWN = "02:00:0a:01:09:21", "02:00:0a:01:09:22", "02:00:0a:01:09:23"
GATEWAY = "10.1.9.1"


def wanted(**reserved: Any) -> dict[str, Any]:
    value = document()
    value["interfaces"]["guest0"]["addresses"].append(f"{GATEWAY}/24")
    dhcp = value["dhcp"]["guest0"]
    dhcp["ranges"] = [{"first": "10.1.9.100", "last": "10.1.9.119"}]
    dhcp["options"] = {
        "ntp": ["198.51.100.123"],
        "routes": [{"destination": "192.0.2.0/24", "gateway": "10.1.1.254"}],
    }
    dhcp["reservations"] |= {
        RESERVED: {"address": "10.1.9.33", "hostname": "second", **reserved},
        # Within the range, and reserved all the same.
        OWN: {"address": "10.1.9.110", "hostname": "own", "options": {"mtu": 1300}},
    }
    value["metadata"]["guest0"]["guests"][RESERVED] = {"instance_id": "i-9"}
    value["static_nat"] = {}
    value["port_forwards"]["web"]["target"] = "10.1.9.33"
    return value


@pytest.fixture(scope="module")
def clients(shared_lab: Lab) -> Iterator[Lab]:
    for name, mac in (("sub-reserved", RESERVED), ("sub-free", FREE), ("sub-own", OWN)):
        shared_lab.client(name, "guest0", mac)
    yield shared_lab


@pytest.mark.parametrize("kind", CLIENTS)
def test_leases_of_each_subnet(clients: Lab, lab: Lab, kind: str) -> None:
    lab.put(wanted())
    usual = {"dns": GATEWAY, "router": GATEWAY, "domain": "a.example", "ntp": "198.51.100.123"}
    for name, address, mtu in (
        ("sub-reserved", "10.1.9.33", "1450"), ("sub-own", "10.1.9.110", "1300"), ("sub-free", None, "1450")
    ):  # fmt: skip
        lease = dhcp_clients.ask(kind, lab[name])
        assert lease, name
        assert "routes" not in lease, "their gateway is on the other subnet"
        for key, value in {**usual, "mtu": mtu}.items():
            assert lease.get(key) == value, (name, key, lease)
        first, last = (socket.inet_aton(f"10.1.9.{end}") for end in (100, 119))
        if address is not None:
            assert lease["address"] == address
        else:
            assert first <= socket.inet_aton(lease["address"]) <= last
            assert lease["address"] != "10.1.9.110"
    assert lab.drift() == []


def test_guests_of_both_are_served_and_reach_what_is_around(clients: Lab, lab: Lab) -> None:
    lab.put(wanted())
    first, second = lab["vm1"], lab["sub-reserved"]
    second.move("10.1.9.33/24", gateway=GATEWAY)
    lab.serve("sub-reserved", 80)
    until(lambda: second.dig("vm1.a.example", server=GATEWAY) == ["10.1.1.10"], what="names")
    assert first.dig("second.a.example", server="10.1.1.1") == ["10.1.9.33"]
    assert first.dig("10.1.9.33", "PTR", server="10.1.1.1") == ["second.a.example."]
    assert second.dig("10.1.1.10", "PTR", server=GATEWAY) == ["vm1.a.example."]
    assert GATEWAY in second.dig("data-server.a.example", server=GATEWAY)
    # Metadata at its own gateway, and at the address that is everybody's.
    path = "/latest/meta-data/instance-id"
    for server in (GATEWAY, "169.254.169.254"):
        assert second.http(path, server=server).text.strip() == "i-9"
    assert first.http(path, server="10.1.1.1").text.strip() == "i-1"
    mac = "/2021-03-23/meta-data/network/interfaces/macs/" + RESERVED
    assert second.http(f"{mac}/subnet-ipv4-cidr-block", server=GATEWAY).text.strip() == "10.1.9.0/24"
    # The outside, forwards, a forward of its own, and the other subnet through the router.
    assert second.ask(WEB, 80) == f"net:80 saw {PUBLIC}"
    assert lab["net"].ask(FORWARDS, 8080) == "sub-reserved:80 saw 203.0.113.1"
    assert first.ask("10.1.9.33", 80) == "sub-reserved:80 saw 10.1.1.10"
    assert second.ask(FORWARDS, 8080) == f"sub-reserved:80 saw {GATEWAY}"
    assert second.refused("10.1.2.10", 80), "another network's guests aren't its neighbours"
    # Nobody is who he isn't, and the firewall knows the second subnet, too.
    second.run("ip", "address", "add", "10.1.8.9/32", "dev", "eth0")
    assert second.refused(WEB, 80, source="10.1.8.9")
    second.run("ip", "address", "del", "10.1.8.9/32", "dev", "eth0")
    rule = {"verdict": "drop", "protocol": "tcp", "source_cidrs": ["10.1.9.0/24"]}
    lab.patch({"firewall": {"egress": {"guest0": {"rules": {"no": rule}}}}})
    assert second.refused(WEB, 80) and first.ask(WEB, 80)
    checks = {each["name"]: each for each in lab.get("/v1/health?fresh")["checks"]}
    for name in (f"dns guest0 {GATEWAY}", f"dhcp guest0 {GATEWAY}", f"metadata guest0 {GATEWAY}"):
        assert checks[name]["ok"], checks[name]
    assert lab.drift() == []


def test_an_address_of_the_second_goes_to_another_guest(clients: Lab, lab: Lab) -> None:
    lab.put(wanted())
    assert dhcp_clients.ask("udhcpc", lab["sub-free"])
    held = lab.run("cat", "/var/lib/sysvm/leases/guest0")
    address = next(line.split()[2] for line in held.splitlines() if FREE in line)
    lab.patch({"dhcp": {"guest0": {"reservations": {RESERVED: {"address": address}}}}})
    lease = dhcp_clients.ask("udhcpc", lab["sub-reserved"])
    assert lease and lease["address"] == address
    assert lab.drift() == []


def test_a_subnet_comes_and_goes(clients: Lab, lab: Lab) -> None:
    with lab["vm1"].socket() as flow:
        flow.connect((WEB, 80))
        for _ in range(2):
            lab.put(wanted())
            until(lambda: lab["sub-reserved"].ping(GATEWAY), what="its gateway")
            lab.put(document())
            assert not lab["sub-reserved"].ping(GATEWAY, seconds=0.3)
            assert lab.drift() == []
        flow.send(b"?")
        assert flow.recv(100).startswith(b"net:80"), "the first one's flows go on"
