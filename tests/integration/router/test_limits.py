"""Limits hold the one they are for, in each direction, and nobody else; floods take nobody's turn.

Rates are compared with those of an unlimited guest in the same run, as the machine has others to serve.
"""

import contextlib
import socket
import struct
import time
from typing import Any

import dns.message
import pytest
from dhcp_clients import ask
from router_document import VM1, document
from router_lab import FAR, FORWARDS, PUBLIC, STATIC, WEB, Lab, until
from traffic import connected, flood, transfer

RATE = 8_000_000
"""Bits per second; a megabyte."""
SECONDS = 2.5
PORT = 5001


def limited(**sections: Any) -> dict[str, Any]:
    return {**document(), "limits": sections}


def held(rate: float) -> bool:
    """Whether so many bytes per second are about what RATE lets through."""
    return RATE / 8 * 0.3 < rate < RATE / 8 * 1.3


@pytest.mark.parametrize(
    ("mode", "fast_path"),
    [("shaped", True), ("policed", True), ("policed", False)],
    ids=["shaped", "policed", "policed, chains"],
)
@pytest.mark.parametrize("back", [False, True], ids=["sent", "received"])
@pytest.mark.parametrize(
    ("section", "key"),
    [("guests", VM1), ("guests", "10.1.1.10"), ("networks", "guest0"), ("addresses", PUBLIC)],
)
def test_a_rate_holds_whom_it_is_for_and_nobody_else(
    lab: Lab, section: str, key: str, back: bool, mode: str, fast_path: bool
) -> None:
    direction = "received" if back else "sent"
    lab.put(
        {**limited(**{section: {key: {direction: {"rate": RATE, "mode": mode}}}}), "fast_path": fast_path}
    )
    assert lab.drift() == []
    # vm3 is of another network; vm2 goes out by an address of its own.
    other = lab["vm2"] if section == "addresses" else lab["vm3"]
    with (
        transfer(lab["vm1"], WEB, PORT, lab["net"], back=back) as one,
        transfer(other, FAR, PORT + 1, lab["net"], back=back) as free,
        # And its own other direction.
        transfer(lab["vm1"], FAR, PORT + 2, lab["net"], back=not back) as reverse,
    ):
        time.sleep(1.5)
        seen, unlimited, other_way = one.rate(SECONDS), free.rate(0.5), reverse.rate(0.5)
    assert held(seen), seen
    assert unlimited > 4 * seen
    # In a plain queue its answers wait behind what is received, with fq_codel they needn't.
    fair = mode == "policed" or lab.get("/v1/status")["capabilities"]["fq_codel"]
    assert not fair or other_way > 2 * seen


@pytest.mark.parametrize("mode", ["shaped", "policed"])
def test_a_changed_rate_cuts_nothing(lab: Lab, mode: str) -> None:
    lab.put(limited(guests={"10.1.1.10": {"sent": {"rate": RATE, "mode": mode}}}))
    with transfer(lab["vm1"], WEB, PORT, lab["net"]) as one:
        time.sleep(1.5)
        slow = one.rate(SECONDS)
        assert held(slow)
        report = lab.patch({"limits": {"guests": {"10.1.1.10": {"sent": {"rate": 5 * RATE}}}}})
        kinds = ["Ruleset", "Shaping"] if mode == "shaped" else ["Ruleset"]
        assert [change["kind"] for change in report["changes"]] == kinds, "elements, and nothing else"
        time.sleep(1)
        assert one.rate(SECONDS) > 2 * slow
        lab.patch({"limits": None})
        time.sleep(1)
        assert one.rate(SECONDS) > 4 * slow
        # One that comes while a connection is under way holds that, too.
        lab.put(limited(guests={"10.1.1.10": {"sent": {"rate": RATE, "mode": mode}}}))
        time.sleep(1.5)
        assert held(one.rate(SECONDS))
        assert not one.ended.is_set()


def test_public_addresses_of_forwards_and_static_nat(lab: Lab) -> None:
    lab.put(limited(addresses={FORWARDS: {"received": {"rate": RATE}}, STATIC: {"sent": {"rate": RATE}}}))
    lab.patch({"port_forwards": {"web": {"target_ports": PORT}}})
    with (
        transfer(lab["vm2"], WEB, PORT + 1, lab["net"]) as out,
        transfer(lab["net"], FORWARDS, 8080, lab["vm1"], server_port=PORT) as into,
        transfer(lab["vm3"], WEB, PORT + 2, lab["net"]) as free,
    ):
        time.sleep(1.5)
        seen = out.rate(SECONDS), into.rate(SECONDS)
        assert all(map(held, seen)), seen
        assert free.rate(0.5) > 4 * max(seen)


def test_usage_counts_what_got_through_by_guest(lab: Lab) -> None:
    # What a queue loses is counted before, and what a policer drops isn't.
    rate = {"rate": RATE, "mode": "policed"}
    lab.put({**limited(guests={"10.1.1.10": {"sent": rate}}), "accounting": {"guests": True}})

    def counted(guest: str, direction: str) -> int:
        found: int = lab.get("/v1/usage").get(f"guest-{guest}", {}).get(direction, {}).get("bytes", 0)
        return found

    before = {guest: counted(guest, "sent") for guest in ("10.1.1.10", "10.1.1.11")}
    with transfer(lab["vm1"], WEB, PORT, lab["net"]) as one:
        time.sleep(2)
    sent = counted("10.1.1.10", "sent") - before["10.1.1.10"]
    assert one.received < sent < one.received * 1.1 + 200_000
    assert counted("10.1.1.11", "sent") == before["10.1.1.11"], "the other guest's counter is his own"
    before_back = counted("10.1.1.11", "received")
    with transfer(lab["vm2"], WEB, PORT, lab["net"], back=True) as two:
        time.sleep(0.5)
    assert counted("10.1.1.11", "received") - before_back > two.received
    metrics = lab.request("GET", "/metrics").text
    assert 'sysvm_traffic_bytes_total{kind="guest",of="10.1.1.10",direction="sent"}' in metrics
    lab.put(document())
    assert counted("10.1.1.10", "sent") >= sent, "a total outlives its counter"


def test_usage_of_guests_counts_together_as_their_network(lab: Lab) -> None:
    lab.put({**document(), "accounting": {"guests": True}})
    before = lab.get("/v1/usage")
    with transfer(lab["vm1"], WEB, PORT, lab["net"]), transfer(lab["vm2"], FAR, PORT, lab["net"]):
        time.sleep(0.5)
    after = lab.get("/v1/usage")

    def grown(name: str) -> int:
        return int(after[name]["sent"]["bytes"]) - int(before[name]["sent"]["bytes"])

    both = grown("guest-10.1.1.10") + grown("guest-10.1.1.11")
    assert both > 1_000_000
    assert abs(grown("network-guest0") - both) < both * 0.02


# --- connections --------------------------------------------------------------------------------------


def tracked(lab: Lab, guest: str) -> int:
    total: int = lab.get(f"/v1/connections?guest={guest}&limit=1")["total"]
    return total


@pytest.mark.parametrize(
    "section",
    [
        {"guests": {VM1: {"connections": 100}}},
        {"guests": {"10.1.1.10": {"connections": 100}}},
        {"usual": {"connections": 100}},
    ],
    ids=["by MAC address", "by address", "as usual"],
)
def test_one_guest_can_not_fill_connection_tracking(lab: Lab, section: dict[str, Any]) -> None:
    lab.put(limited(**section))
    lab.run("conntrack", "-F", check=False)
    with flood(lab["vm1"], FAR, 9, b"x", ports=500) as sent:
        time.sleep(1.0)
        assert lab["vm2"].ask(WEB, 80) == f"net:80 saw {STATIC}", "the others begin theirs meanwhile"
        assert lab["vm3"].ask(WEB, 80) == f"net:80 saw {PUBLIC}"
    assert sent[0] > 1000
    assert 50 < tracked(lab, "10.1.1.10") <= 110
    assert lab["vm1"].refused(WEB, 80), "who has taken all of his has none left"


def test_a_network_s_connections(lab: Lab) -> None:
    lab.put(limited(networks={"guest0": {"connections": 100}}))
    lab.run("conntrack", "-F", check=False)
    with flood(lab["vm1"], FAR, 9, b"x", ports=500):
        time.sleep(1.0)
        assert lab["vm3"].ask(WEB, 80) == f"net:80 saw {PUBLIC}"
    assert tracked(lab, "10.1.1.10") <= 110


def test_new_connections_per_second(lab: Lab) -> None:
    lab.put(limited(guests={VM1: {"new_connections_per_second": 20}}))
    lab.run("conntrack", "-F", check=False)
    before = tracked(lab, "10.1.1.10")
    with flood(lab["vm1"], FAR, 9, b"x", ports=900):
        time.sleep(2.0)
    assert 20 <= tracked(lab, "10.1.1.10") - before <= 20 + 20 * 4
    assert lab["vm2"].ask(WEB, 80) == f"net:80 saw {STATIC}"


def test_what_comes_to_a_public_address(lab: Lab) -> None:
    lab.put(limited(addresses={FORWARDS: {"connections": 5}}))
    with contextlib.ExitStack() as stack:
        seen = []
        for _ in range(10):
            connection = stack.enter_context(lab["net"].socket())
            connection.settimeout(1)
            with contextlib.suppress(OSError):
                connection.connect((FORWARDS, 8080))
                seen.append(connection)
        assert len(seen) == 5
        assert lab["net"].ask(STATIC, 80) == "vm2:80 saw 203.0.113.1", "another address has room"


def test_a_connection_that_is_there_goes_on_at_the_limit(lab: Lab) -> None:
    lab.put(limited(guests={VM1: {"connections": 20}}))
    with (
        connected(lab["vm1"], WEB, PORT, lab["net"]) as (here, there),
        flood(lab["vm1"], FAR, 9, b"x", ports=100),
    ):
        time.sleep(0.5)
        for _ in range(20):
            here.sendall(b"x" * 1000)
            assert there.recv(10_000)


# --- what the router itself serves --------------------------------------------------------------------


def discover(number: int) -> bytes:
    """A DHCPDISCOVER of a made-up guest (RFC 2131)."""
    mac = struct.pack("!HI", 0x0203, number)
    header = struct.pack("!BBBBIHH16x", 1, 1, 6, 0, number, 0, 0x8000) + mac.ljust(16, b"\0") + bytes(192)
    return header + b"\x63\x82\x53\x63" + b"\x35\x01\x01" + b"\xff"


def test_a_flood_of_dhcp_takes_nobody_s_lease(lab: Lab) -> None:
    with contextlib.ExitStack() as stack:
        sender = stack.enter_context(lab["vm1"].socket(socket.SOCK_DGRAM))
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        begun, number = time.monotonic(), 0
        while time.monotonic() - begun < 1.0:
            number += 1
            with contextlib.suppress(OSError):
                sender.sendto(discover(number), ("255.255.255.255", 67))
        assert number > 1000
        given = ask("udhcpc", lab["vm2"])
        assert given is not None and given["address"] == "10.1.1.11"
    taken = lab.run("cat", "/var/lib/sysvm/leases/guest0").count("02:03:")
    assert taken == 0, "nobody was given one"
    log = lab.run("journalctl", "-u", "sysvm-dnsmasq@guest0", "-o", "cat", "--since", "-30s", check=False)
    assert log.count("DHCPDISCOVER") < 400, "of the thousands that were sent"


def test_a_flood_of_dns_takes_nobody_s_answer(lab: Lab) -> None:
    lab.put(limited(usual={"dns_packets_per_second": 200}))
    query = dns.message.make_query("vm1.a.example", "A").to_wire()
    with flood(lab["vm1"], "10.1.1.1", 53, query, ports=5) as sent:
        until(lambda: sent[0] > 2000, what="a flood")
        worst = 0.0
        for _ in range(15):
            begun = time.monotonic()
            assert lab["vm2"].dig("vm1.a.example", server="10.1.1.1") == ["10.1.1.10"]
            worst = max(worst, time.monotonic() - begun)
    assert worst < 1.0


def test_a_flood_of_metadata_takes_nobody_s_answer(lab: Lab) -> None:
    lab.put(limited(usual={"new_connections_per_second": 50}))
    opened: list[socket.socket] = []
    begun = time.monotonic()
    while time.monotonic() - begun < 1.5:
        each = lab["vm1"].socket()
        each.setblocking(False)
        each.connect_ex(("10.1.1.1", 80))
        opened.append(each)
    try:
        assert len(opened) > 200
        assert lab["vm2"].http("/latest/meta-data/instance-id", server="10.1.1.1").text.strip() == "i-2"
    finally:
        for each in opened:
            each.close()
