"""A redundant pair: what guests and the world notice of a fail-over, which is next to nothing."""

import time
from contextlib import ExitStack
from typing import Any

import pair_lab
from dhcp_clients import ask
from flows import Flow, Pings
from pair_lab import PairLab, advertisements, announcements, document, leases, listening, offers, other
from router_document import VM1, VM2
from router_lab import FORWARDS, PAIR_SECRET, PUBLIC, STATIC, WEB, until
from test_passwords import SECRET

_LINK_LOCAL = "169.254.169.254"
_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD


def flows(lab: PairLab) -> dict[str, Flow]:
    """By source NAT, port forwards and static NAT, both ways."""
    return {
        "source NAT, TCP": Flow(lab["vm1"], WEB, 7, udp=False, source=5000),
        "static NAT, TCP, outwards": Flow(lab["vm2"], WEB, 7, udp=False, source=5000),
        "source NAT, UDP": Flow(lab["vm1"], WEB, 7, udp=True, source=5000),
        "static NAT, UDP, outwards": Flow(lab["vm2"], WEB, 7, udp=True, source=5000),
        "port forward, TCP": Flow(lab["net"], FORWARDS, 8080, udp=False),
        "port forward, UDP": Flow(lab["net"], FORWARDS, 8081, udp=True),
        "static NAT, TCP": Flow(lab["net"], STATIC, 80, udp=False),
        "static NAT, UDP": Flow(lab["net"], STATIC, 80, udp=True),
    }


def test_one_has_the_addresses_and_both_are_in_order(pair: PairLab) -> None:
    for address in ("10.1.1.1", PUBLIC, FORWARDS, STATIC, _LINK_LOCAL, "fd00:1::1"):
        assert pair.have(address) == ["r1"], address
    for name, router in pair.routers.items():
        assert router.drift() == [], name
        assert pair.failed_checks(name) == {}
        until(lambda router=router: router.drift() == [], seconds=2)
    assert pair["vm1"].ping("10.1.1.1") and pair["vm1"].ping(WEB)
    metrics = pair.routers["r2"].request("GET", "/metrics").text
    assert 'sysvm_redundancy_state{state="backup"} 1' in metrics
    assert "sysvm_redundancy_split_brain 0" in metrics and "sysvm_redundancy_peer_heard 1" in metrics


def test_only_the_primary_answers_guests(pair: PairLab) -> None:
    with listening(pair["vm1"], _IPV4) as frames:
        assert [server for _, server in offers(pair["vm2"])] == ["10.1.1.1"]
        assert pair["vm1"].dig("vm2.a.example", server="10.1.1.1") == ["10.1.1.11"]
    backup = pair_lab.macs("r2")["guest0"]
    said = [frame for _, frame in frames if frame[6:12].hex(":") == backup and frame[23] != 112]
    assert said == []


def test_the_primary_is_killed_and_nothing_established_is_lost(pair: PairLab) -> None:
    changes = pair.changes()
    with ExitStack() as stack:
        running = {name: stack.enter_context(flow) for name, flow in flows(pair).items()}
        pings = Pings(pair["vm1"], WEB)
        # Longer than the kernel keeps an ICMP "connection" that it hears nothing of (30 s).
        time.sleep(35)
        before = {name: set(flow.seen) for name, flow in running.items()}
        killed = time.monotonic()
        pair.power_cut("r1")
        time.sleep(3)
        sent, answered = pings.stop()
        for flow in running.values():
            flow.stop()
    assert pair.state("r2") == "primary"
    first = {name: flow.answered_after(killed) for name, flow in running.items()}
    for name, flow in running.items():
        assert flow.error is None, name
        assert len(before[name]) == 1 and flow.seen == before[name], "the same address and port outside"
        after = first[name]
        assert after is not None and after < 3, name
        assert flow.lost == 0 or flow.udp, name
    assert sent - answered < 100
    # Foreign adverts of another test are remembered for a minute.
    assert pair.failed_checks("r2").keys() - {"redundancy foreign-vrrp"} == {"redundancy peer"}

    # It comes back as the backup, and nothing is taken from it.
    pair.routers["r1"].start()
    pair.routers["r1"].ready()
    assert pair.settled() == "r2"
    time.sleep(2)
    assert pair.changes()["r2"] == changes["r2"] + 1
    assert all(router.drift() == [] for router in pair.routers.values())


def test_a_planned_switch_over_and_back(pair: PairLab) -> None:
    for name in ("r1", "r2"):
        with ExitStack() as stack:
            running = {what: stack.enter_context(flow) for what, flow in flows(pair).items()}
            time.sleep(1)
            before = {what: set(flow.seen) for what, flow in running.items()}
            answer = pair.routers[name].request("POST", "/v1/switch-over")
            assert (answer.status, answer.json["state"]) == (200, "backup"), answer
            time.sleep(1)
            for flow in running.values():
                flow.stop()
        assert pair.settled() == other(name)
        for what, flow in running.items():
            assert flow.error is None and flow.seen == before[what], what
            assert flow.lost <= 1, what
    refused = pair.routers["r2"].request("POST", "/v1/switch-over")
    assert refused.status == 409 and "isn't the primary" in refused.json["detail"]


def test_neighbours_are_told_and_told_again(pair: PairLab) -> None:
    with listening(pair["vm1"], _ARP) as frames, listening(pair["vm1"], _IPV6) as frames6:
        begun = time.monotonic()
        pair.make_primary("r2")
        time.sleep(2)
    mac = pair_lab.macs("r2")["guest0"]
    assert announcements(frames, "10.1.1.1", mac, after=begun) >= 10
    assert announcements(frames, _LINK_LOCAL, mac, after=begun) >= 10
    assert advertisements(frames6, mac, after=begun) >= 10


def test_guests_keep_what_they_were_given(pair: PairLab) -> None:
    """Leases, names, metadata and passwords."""

    def with_passwords(name: str) -> dict[str, Any]:
        value = document(name)
        guests = value["metadata"]["guest0"]["guests"]
        guests[VM1]["password"], guests[VM2]["password"] = SECRET, f"{SECRET}-2"
        del value["dhcp"]["guest0"]["reservations"][VM2]
        guests[VM2]["address"] = "10.1.1.11"
        return value

    pair.put(with_passwords)
    guest = pair.routers["r1"].client("vm9", "guest0", "02:00:0a:01:01:99")
    given = [ask("udhcpc", pair[name]) for name in ("vm1", "vm2")] + [ask("dhclient", guest)]
    addresses = [lease["address"] for lease in given if lease]
    assert addresses[0] == "10.1.1.10" and len(set(addresses)) == 3
    fetch = {"DomU_Request": "send_my_password"}
    done = {"DomU_Request": "saved_password"}
    assert pair["vm1"].http("/", server="10.1.1.1", port=8080, headers=fetch).text == SECRET
    assert pair["vm1"].http("/", server="10.1.1.1", port=8080, headers=done).text == "saved_password"
    until(lambda: leases(pair, "r2") == leases(pair, "r1"), seconds=10, what="the backup knows the leases")
    until(
        lambda: pair.run("r2", "ls", "/var/lib/sysvm/passwords/guest0").split() == ["10.1.1.11"], seconds=5
    )

    pair.containers.kill("r1")
    until(lambda: pair.state("r2") == "primary")
    assert pair["vm1"].dig("vm1.a.example", server="10.1.1.1") == ["10.1.1.10"]
    assert pair["vm1"].http("/latest/meta-data/instance-id", server="10.1.1.1").text.strip() == "i-1"
    assert pair["vm1"].http("/", server="10.1.1.1", port=8080, headers=fetch).text == "saved_password"
    assert pair["vm2"].http("/", server="10.1.1.1", port=8080, headers=fetch).text == f"{SECRET}-2"
    assert pair["vm2"].http("/", server="10.1.1.1", port=8080, headers=done).text == "saved_password"
    again = [ask("udhcpc", pair[name]) for name in ("vm1", "vm2")] + [ask("dhclient", guest)]
    assert [lease["address"] for lease in again if lease] == addresses

    # The one that comes back learns what happened meanwhile, and isn't misled by the document it kept.
    pair.routers["r1"].start()
    pair.routers["r1"].ready()
    assert pair.settled() == "r2"
    until(lambda: leases(pair, "r1") == leases(pair, "r2"), seconds=10)
    until(lambda: pair.run("r1", "ls", "/var/lib/sysvm/passwords/guest0").split() == [], seconds=5)
    for router in pair.routers.values():
        assert router.drift() == []


def test_changes_of_the_document_move_nothing(pair: PairLab) -> None:
    """A network that comes and goes, an address, a forward, on a pair that carries traffic."""

    def more(name: str) -> dict[str, Any]:
        value = document(name)
        value["interfaces"]["guest1"] = {"mac": pair_lab.macs(name)["guest1"], "addresses": ["10.1.2.1/24"]}
        value["interfaces"]["public0"]["addresses"].append("203.0.113.9/24")
        value["dhcp"]["guest1"] = {"ranges": [{"first": "10.1.2.100", "last": "10.1.2.199"}]}
        value["source_nat"]["guest1"] = {"address": PUBLIC}
        value["firewall"]["egress"]["guest1"] = {"policy": "accept"}
        value["port_forwards"]["new"] = {
            "address": FORWARDS, "protocol": "tcp", "ports": 8001, "target": "10.1.1.11", "target_ports": 80,
        }  # fmt: skip
        return value

    changes = pair.changes()
    guest = pair.clients.get("vm3") or pair.routers["r1"].client(
        "vm3", "guest1", "02:00:0a:01:02:0a", "10.1.2.10/24", gateway="10.1.2.1"
    )
    with Flow(pair["vm1"], WEB, 7, udp=True) as old, Flow(pair["vm1"], WEB, 7, udp=False) as stream:
        for make in (more, document, more):
            pair.put(make)
            time.sleep(1)
        until(lambda: guest.ping(WEB), seconds=5)
        assert [server for _, server in offers(guest)] == ["10.1.2.1"]
        with Flow(pair["net"], FORWARDS, 8001, udp=False) as new:
            until(lambda: new.answered)
        old.stop()
        stream.stop()
    assert pair.changes() == changes
    assert (old.lost, stream.lost, stream.error) == (0, 0, None)
    assert pair.have("10.1.2.1") == pair.have("203.0.113.9") == ["r1"]
    assert all(router.drift() == [] for router in pair.routers.values())
    # And the new network moves with the others.
    pair.make_primary("r2")
    assert guest.ping(WEB) and pair.have("10.1.2.1") == ["r2"]


def test_preempt_brings_the_preferred_one_back(pair: PairLab) -> None:
    pair.make_primary("r2")
    try:
        pair.put(lambda name: document(name, preempt=True))
        until(lambda: pair.state("r1") == "primary", seconds=5)
        pair.settled()
        refused = pair.routers["r1"].request("POST", "/v1/switch-over")
        assert refused.status == 409 and "preempt" in refused.json["detail"]
    finally:
        pair.put()


def test_adverts_by_multicast(pair: PairLab) -> None:
    try:
        pair.put(lambda name: document(name, multicast="sync0"))
        assert pair.settled() in pair.routers
        with pair.deaf("r1"), pair.deaf("r2"):
            until(lambda: pair.state("r1") == pair.state("r2") == "primary", seconds=5)
        pair.settled()
    finally:
        pair.put()


def test_the_secret_is_shown_nowhere(pair: PairLab) -> None:
    for name, router in pair.routers.items():
        said = [router.request("GET", path).text for path in
                ("/v1/config", "/v1/status", "/v1/health", "/metrics")]  # fmt: skip
        said.append(router.run("journalctl", "--no-pager", "--output", "verbose"))
        said.append(router.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '", check=False))
        said.append(router.request("POST", "/v1/plan", document(name) | {"generation": 10**6}).text)
        assert not [text for text in said if PAIR_SECRET in text]
        found = router.run("grep", "-rlaF", PAIR_SECRET, "/run/sysvm", "/run/sysvm-redundancy", check=False)
        assert found.split() == ["/run/sysvm/redundancy/pair.json"]
        assert router.run("stat", "-c", "%a %U", "/run/sysvm/redundancy/pair.json").split() == [
            "600",
            "root",
        ]


def test_alone_again(pair: PairLab) -> None:
    """The section goes, and with it all that it brought; the addresses stay where they are."""
    pair.routers["r2"].put({"role": "router", "name": "r2"})
    router = pair.routers["r1"]
    value = document("r1")
    del value["redundancy"], value["interfaces"]["sync0"]
    router.put(value)
    try:
        assert router.drift() == []
        assert pair.have("10.1.1.1") == ["r1"] and "redundancy" not in router.status()
        until(lambda: pair["vm1"].ping(WEB))
        for unit in ("sysvm-keepalived", "sysvm-conntrackd", "sysvm-pair"):
            assert router.unit(unit, "ActiveState") == "inactive"
    finally:
        pair.put()
