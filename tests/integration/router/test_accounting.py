"""Traffic totals: exact, and never less than they were."""

import socket
from typing import Any

from router_document import document
from router_lab import FORWARDS, PUBLIC, STATIC, WEB, Lab, until
from traffic import sent_again

SIZE = 1_000_000
Totals = dict[str, dict[str, dict[str, int]]]


def usage(lab: Lab) -> Totals:
    totals: Totals = lab.get("/v1/usage")
    return totals


def grown(lab: Lab, before: Totals) -> dict[str, int]:
    """By how many bytes each counter grew, those that did."""
    found = {}
    for name, directions in usage(lab).items():
        for direction, values in directions.items():
            new = values["bytes"] - before.get(name, {}).get(direction, {}).get("bytes", 0)
            if new:
                found[f"{name} {direction}"] = new
    return found


def upload(lab: Lab, client: str, address: str, port: int, *, server: str) -> int:
    """SIZE bytes of content to a server, acknowledged by it; how many segments had to be sent again."""
    listening = lab.serve(server, port if port != 8080 else 80)
    before = listening.received
    with lab[client].socket() as connected:
        connected.settimeout(10)
        connected.connect((address, port))
        connected.sendall(b"x" * (SIZE - 1) + b"?")
        assert b"saw" in connected.recv(100)
        connected.shutdown(socket.SHUT_WR)
        until(lambda: listening.received - before >= SIZE)
        return sent_again(connected)


def test_a_transfer_is_counted_to_the_byte(lab: Lab) -> None:
    """Within its headers: up to 66 bytes of them in 1450, and acknowledgements the other way."""
    for client, address, port, server, counters in (
        ("vm1", WEB, 80, "net", ("network-guest0 sent", f"address-{PUBLIC} sent")),
        ("vm3", WEB, 80, "net", ("network-guest1 sent", f"address-{PUBLIC} sent")),
        ("vm2", WEB, 80, "net", ("network-guest0 sent", f"address-{STATIC} sent")),
        ("net", FORWARDS, 8080, "vm1", ("network-guest0 received", f"address-{FORWARDS} received")),
        ("net", STATIC, 80, "vm2", ("network-guest0 received", f"address-{STATIC} received")),
    ):
        before = usage(lab)
        again = upload(lab, client, address, port, server=server)
        change = grown(lab, before)
        for counter in counters:
            assert SIZE < change[counter] < SIZE * 1.08 + again * 1514, (client, counter, change)
        # Once each, and the answers in the other direction are small.
        much = sorted(name for name, count in change.items() if count > SIZE * 0.5)
        assert much == sorted(counters), change


def not_less(now: Totals, before: Totals) -> None:
    for name, directions in before.items():
        for direction, values in directions.items():
            for unit, value in values.items():
                assert now[name][direction][unit] >= value, (name, direction, unit)


def test_totals_survive_changes_restarts_and_power_cuts(lab: Lab) -> None:
    def total() -> int:
        return usage(lab)["network-guest0"]["sent"]["bytes"]

    def step(change: Any) -> None:
        before, all_before = total(), usage(lab)
        upload(lab, "vm1", WEB, 80, server="net")
        change()
        lab.ready()
        assert total() - before > SIZE, change
        not_less(usage(lab), all_before)

    structural = document()
    structural["interfaces"]["guest1"]["addresses"] = ["10.1.3.1/24"]
    for section in ("dhcp", "dns"):
        del structural[section]["guest1"]
    step(lambda: lab.put(structural))
    step(lambda: lab.put(document()))
    step(lambda: lab.run("systemctl", "restart", "sysvm-agent"))
    step(lambda: lab.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "sysvm-agent") and None)
    # Without accounting the total stays; with it again, it goes on from there.
    without = document()
    del without["accounting"]
    step(lambda: lab.put(without))
    kept = total()
    upload(lab, "vm1", WEB, 80, server="net")
    assert total() == kept
    lab.put(document())
    assert total() == kept
    upload(lab, "vm1", WEB, 80, server="net")
    assert total() > kept + SIZE
    # What was told once is never taken back; what nobody asked for since may be lost with the power.
    told = usage(lab)
    upload(lab, "vm1", WEB, 80, server="net")
    lab.power_cut()
    lab.ready()
    not_less(usage(lab), told)
    # A damaged record of them is better forgotten than the end of the agent.
    for content in ("[]", "{", '{"totals": 7}'):
        lab.run("systemctl", "stop", "sysvm-agent")
        (lab.state / "usage.json").write_text(content)
        lab.run("systemctl", "start", "sysvm-agent")
        lab.ready()
        assert usage(lab)["network-guest0"]
