"""Leases as stock clients get them."""

import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import dhcp_clients
import pytest
from dhcp_clients import CLIENTS
from router_document import document
from router_lab import Lab, inside, until

from appliance.devcloud import guests
from appliance.devcloud.layout import Guest

RESERVED, LONELY, FREE = "02:00:0a:01:01:21", "02:00:0a:01:01:22", "02:00:0a:01:01:23"
ROUTES = [{"destination": "192.0.2.0/24", "gateway": "10.1.1.254"}]


def with_options() -> dict[str, Any]:
    wanted = document()
    dhcp = wanted["dhcp"]["guest0"]
    dhcp["options"] = {"search": ["a.example", "example.net"], "ntp": ["198.51.100.123"]}
    dhcp["reservations"][RESERVED] = {
        "address": "10.1.1.33",
        "hostname": "reserved",
        "options": {"mtu": 1400, "dns": ["198.51.100.53"], "routes": ROUTES, "domain": "own.example"},
    }
    dhcp["reservations"][LONELY] = {
        "address": "10.1.1.34",
        "hostname": "lonely",
        "default_gateway": False,
        "options": {"routes": ROUTES},
    }
    return wanted


@pytest.fixture(scope="module")
def bare(shared_lab: Lab) -> Iterator[Lab]:
    """Cards that nobody configured: one with a reservation, one whose way out is elsewhere, one unknown."""
    for name, mac in (("reserved", RESERVED), ("lonely", LONELY), ("free", FREE)):
        if name not in shared_lab.clients:
            shared_lab.client(name, "guest0", mac)
    yield shared_lab


@pytest.mark.parametrize("kind", CLIENTS)
def test_leases_and_options(bare: Lab, lab: Lab, kind: str) -> None:
    lab.put(with_options())
    usual = {"dns": "10.1.1.1", "domain": "a.example", "router": "10.1.1.1", "mtu": "1450"}

    lease = dhcp_clients.ask(kind, lab["free"])
    assert lease
    first, last = (socket.inet_aton(end) for end in ("10.1.1.100", "10.1.1.199"))
    assert first <= socket.inet_aton(lease["address"]) <= last
    for key, value in {**usual, "ntp": "198.51.100.123", "search": "a.example example.net"}.items():
        assert lease.get(key, "").strip(". ").replace(". ", " ") == value, (key, lease)
    assert "routes" not in lease

    lease = dhcp_clients.ask(kind, lab["reserved"])
    assert lease
    own = {"address": "10.1.1.33", "mtu": "1400", "dns": "198.51.100.53", "domain": "own.example"}
    for key, value in {**own, "ntp": "198.51.100.123", "hostname": "reserved"}.items():
        assert lease.get(key) == value, (key, lease)
    # Who gets option 121 ignores option 3, so the default route is in it.
    assert lease["routes"] == "0.0.0.0/0 via 10.1.1.1, 192.0.2.0/24 via 10.1.1.254"

    lease = dhcp_clients.ask(kind, lab["lonely"])
    assert lease
    assert lease["address"] == "10.1.1.34"
    assert not lease.keys() & {"router", "dns", "domain", "search"}, lease
    assert lease["routes"] == "192.0.2.0/24 via 10.1.1.254"
    assert lease["mtu"] == "1450"


def test_a_stock_guest_image_is_configured(lab: Lab, tree: Any) -> None:
    """systemd-networkd, with cloud-init in front of it as in a cloud image."""
    wanted = with_options()
    guest = Guest(name="image", mac="02:00:0a:01:01:24", address="10.1.1.35")
    wanted["dhcp"]["guest0"]["reservations"][guest.mac] = {
        "address": guest.address,
        "hostname": guest.name,
        "options": {"routes": ROUTES},
    }
    lab.put(wanted)
    machine = guests.machine(guest, image=tree("guest"), source="None")
    lab.containers.start(machine, wait=None)
    try:
        command = ["sh", "-c", "cat /run/systemd/netif/leases/*; ip route; resolvectl query vm2.a.example"]
        said = until(
            lambda: "10.1.1.11" in (t := lab.containers.run("image", command).stdout) and t, seconds=60
        )
        assert "ADDRESS=10.1.1.35" in said
        assert "192.0.2.0/24 via 10.1.1.254" in said
        assert "default via 10.1.1.1" in said
        assert "NTP=198.51.100.123" in said
    finally:
        lab.containers.kill("image")


def test_renumbering_and_removing_a_reservation(bare: Lab, lab: Lab) -> None:
    lab.put(with_options())
    kind = "udhcpc"
    client = lab["reserved"]
    place = {"dhcp": {"guest0": {"reservations": {RESERVED: {"address": "10.1.1.44"}}}}}
    assert (dhcp_clients.ask(kind, client) or {})["address"] == "10.1.1.33"
    lab.patch(place)
    assert (dhcp_clients.ask(kind, client) or {})["address"] == "10.1.1.44"
    assert lab["vm1"].dig("reserved.a.example", server="10.1.1.1") == ["10.1.1.44"]
    assert lab["vm1"].dig("10.1.1.33", "PTR", server="10.1.1.1") == "NXDOMAIN"
    assert lab["vm1"].dig("10.1.1.44", "PTR", server="10.1.1.1") == ["reserved.a.example."]
    # The old address is free for another at once.
    other = {"02:00:0a:01:01:25": {"address": "10.1.1.33", "hostname": "other"}}
    lab.patch({"dhcp": {"guest0": {"reservations": other}}})
    lab.patch({"dhcp": {"guest0": {"reservations": {RESERVED: None}}}})
    address = (dhcp_clients.ask(kind, client) or {})["address"]
    assert socket.inet_aton(address) >= socket.inet_aton("10.1.1.100")
    assert lab["vm1"].dig("reserved.a.example", server="10.1.1.1") == "NXDOMAIN"
    assert lab["vm1"].dig("other.a.example", server="10.1.1.1") == ["10.1.1.33"]


def test_an_address_goes_to_its_new_holder_at_once(bare: Lab, lab: Lab) -> None:
    """Though the old one, gone without a word, has it leased for an hour."""
    wanted = with_options()
    lab.put(wanted)
    assert (dhcp_clients.ask("udhcpc", lab["reserved"]) or {})["address"] == "10.1.1.33"
    reservations = wanted["dhcp"]["guest0"]["reservations"]
    reservations[FREE] = {**reservations.pop(RESERVED), "hostname": "successor"}
    assert lab.put(wanted)["state"] == "converged"
    assert (dhcp_clients.ask("udhcpc", lab["free"]) or {})["address"] == "10.1.1.33"
    assert (dhcp_clients.ask("udhcpc", lab["reserved"]) or {}).get("address") != "10.1.1.33"


def test_a_guest_may_be_called_whatever_a_dns_label_may_be(bare: Lab, lab: Lab) -> None:
    """Also what dnsmasq takes for a lease time or a keyword of its own."""
    for name in ("ignore", "infinite", "7", "5d", "120", "3w", "deadbeef", "net", "tag", "static", "a--b"):
        wanted = with_options()
        wanted["dhcp"]["guest0"]["reservations"][RESERVED]["hostname"] = name
        lab.put(wanted)
        lease = dhcp_clients.ask("udhcpc", lab["reserved"])
        assert lease, name
        assert lease["address"] == "10.1.1.33", name
        assert lease["hostname"] == name
        assert lab["vm1"].dig(f"{name}.a.example", server="10.1.1.1") == ["10.1.1.33"], name


def test_leases_survive_a_power_cut(bare: Lab, lab: Lab) -> None:
    wanted = with_options()
    wanted["dhcp"]["guest0"]["ranges"] = [{"first": "10.1.1.150", "last": "10.1.1.150"}]
    del wanted["dhcp"]["guest0"]["reservations"][RESERVED]
    lab.run("systemctl", "stop", "sysvm-dnsmasq@guest0")
    lab.run("rm", "-f", "/var/lib/sysvm/leases/guest0")
    lab.put(wanted)
    assert (dhcp_clients.ask("udhcpc", lab["free"]) or {})["address"] == "10.1.1.150"
    lab.power_cut()
    lab.ready()
    # The only free address is still somebody's; and he still has it.
    assert dhcp_clients.ask("udhcpc", lab["reserved"], seconds=4) is None
    assert (dhcp_clients.ask("udhcpc", lab["free"]) or {})["address"] == "10.1.1.150"


def checksum(content: bytes) -> int:
    """RFC 1071, of content that has its checksum in it: 0 is right."""
    padded = content + b"\0" * (len(content) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def test_udp_checksums_of_replies_are_right_on_the_wire(bare: Lab, lab: Lab) -> None:
    client = lab["free"]
    with inside(client.full):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    with wire:
        wire.bind(("eth0", 0x0800))
        wire.settimeout(0.5)
        assert dhcp_clients.ask("udhcpc", client)
        seen = 0
        deadline = time.monotonic() + 2
        while seen < 2 and time.monotonic() < deadline:
            frame = wire.recv(2048)
            length = (frame[14] & 15) * 4
            source, _ = struct.unpack_from("!HH", frame, 14 + length)
            if frame[23] != socket.IPPROTO_UDP or source != 67:
                continue
            udp_length = struct.unpack_from("!H", frame, 14 + length + 4)[0]
            udp = frame[14 + length : 14 + length + udp_length]
            pseudo = frame[26:34] + struct.pack("!HH", socket.IPPROTO_UDP, udp_length)
            assert udp[6:8] != b"\0\0"
            assert checksum(pseudo + udp) == 0
            seen += 1
        assert seen == 2
