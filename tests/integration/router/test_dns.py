"""Names as guests resolve them, and that a change for one guest is felt by no other."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from router_document import document
from router_lab import UPSTREAMS, WEB, Lab, until

from appliance.devcloud import internet
from appliance.devcloud.layout import WEB_NAME
from appliance.runtime.daemon import Daemon

GATEWAY, OTHER = "10.1.1.1", "10.1.2.1"


@pytest.fixture(scope="module")
def upstreams(shared_lab: Lab) -> Iterator[list[Daemon]]:
    """Two DNS servers on the internet, which log what they are asked."""
    daemons = [
        Daemon(
            cloud=shared_lab.cloud,
            name=f"upstream{number}",
            namespace="net",
            argv=internet.upstream(number, address),
        )
        for number, address in enumerate(UPSTREAMS, start=1)
    ]
    for daemon in daemons:
        daemon.start()
    yield daemons
    for daemon in daemons:
        daemon.kill()


def named() -> dict[str, Any]:
    wanted = document()
    wanted["dns"]["guest0"] |= {
        "records": {
            "db": ["10.1.1.50", "10.1.1.51"],
            "six": ["2001:db8::1"],
            "elsewhere.example": ["192.0.2.7"],
        },
        "aliases": {"www": "vm1", "alias.example": "vm2"},
        "texts": {"note": "v=spf1 -all", "a.b": "two"},
        "mail": {"a.example": {"preference": 5, "target": "vm1.a.example"}},
    }
    return wanted


def test_names_of_every_kind(lab: Lab, upstreams: list[Daemon]) -> None:
    lab.put(named())
    expected: dict[tuple[str, str], list[str] | str] = {
        ("vm1.a.example", "A"): ["10.1.1.10"],
        ("vm1", "A"): ["10.1.1.10"],
        ("VM1.A.example", "A"): ["10.1.1.10"],
        ("10.1.1.10", "PTR"): ["vm1.a.example."],
        ("10.1.1.1", "PTR"): ["r1.a.example."],
        ("r1.a.example", "A"): [GATEWAY],
        ("data-server", "A"): [GATEWAY],
        ("db.a.example", "A"): ["10.1.1.50", "10.1.1.51"],
        ("six.a.example", "AAAA"): ["2001:db8::1"],
        ("elsewhere.example", "A"): ["192.0.2.7"],
        ("www.a.example", "A"): ["10.1.1.10"],
        ("www.a.example", "CNAME"): ["vm1.a.example."],
        ("alias.example", "A"): ["10.1.1.11"],
        ("note.a.example", "TXT"): ['"v=spf1 -all"'],
        ("a.b", "TXT"): ['"two"'],
        ("a.example", "MX"): ["5 vm1.a.example."],
        ("nobody.a.example", "A"): "NXDOMAIN",
        ("nobody", "A"): "NXDOMAIN",
        ("10.1.1.99", "PTR"): "NXDOMAIN",
        ("10.7.7.7", "PTR"): "NXDOMAIN",
        (WEB_NAME, "A"): [WEB],
        ("nothing.example.net", "A"): "NXDOMAIN",
    }
    for (name, kind), answer in expected.items():
        assert lab["vm1"].dig(name, kind, server=GATEWAY) == answer, (name, kind)
    # Of all these, the world was asked for what is the world's.
    asked = "".join(daemon.log.read_text() for daemon in upstreams)
    assert f"query[A] {WEB_NAME}" in asked
    for name in ("vm1", "nobody", "a.example", "data-server", "in-addr.arpa", "elsewhere"):
        assert f"] {name} " not in asked.lower() and f"{name} from" not in asked.lower(), name


def test_networks_see_each_others_names_only_if_they_may(lab: Lab, upstreams: list[Daemon]) -> None:
    """Both have a guest of the same name."""
    first, second = lab["vm1"], lab["vm3"]
    assert second.dig("vm1", server=OTHER) == ["10.1.2.10"]
    assert first.dig("vm1", server=GATEWAY) == ["10.1.1.10"]
    for name in ("vm1.b.example", "r1.b.example"):
        assert first.dig(name, server=GATEWAY) in ("NXDOMAIN", "REFUSED", "SERVFAIL")
    assert second.dig("vm1.a.example", server=OTHER) in ("NXDOMAIN", "REFUSED", "SERVFAIL")
    assert second.dig("10.1.1.10", "PTR", server=OTHER) == "NXDOMAIN"
    # Nor does asking the other network's server help.
    with pytest.raises(Exception, match="timed out"):
        second.dig("vm1.a.example", server=GATEWAY, seconds=0.5)

    wanted = document()
    wanted["dns"]["guest0"]["networks"] = ["guest1"]
    lab.put(wanted)
    assert first.dig("vm1.b.example", server=GATEWAY) == ["10.1.2.10"]
    assert first.dig("10.1.2.10", "PTR", server=GATEWAY) == ["vm1.b.example."]
    assert first.dig("vm1", server=GATEWAY) == ["10.1.1.10"]
    assert second.dig("vm1.a.example", server=OTHER) in ("NXDOMAIN", "REFUSED", "SERVFAIL")


def test_the_loss_of_an_upstream_is_not_felt(lab: Lab, upstreams: list[Daemon]) -> None:
    for dead, alive in ((0, 2), (1, 1)):
        upstreams[dead].kill()
        try:
            lab.run("systemctl", "kill", "--signal=HUP", "sysvm-dnsmasq@guest0")
            for _ in range(3):
                started = time.monotonic()
                said = lab["vm1"].dig("upstream.example.net", "TXT", server=GATEWAY)
                assert said == [f'"dns{alive}"']
                assert time.monotonic() - started < 1.0
        finally:
            upstreams[dead].start()


class Load:
    """Queries one after the other from a client, as fast as they are answered; each is awaited for 1 s."""

    def __init__(self, lab: Lab, client: str, names: list[str]) -> None:
        self.answered, self.lost, self.wrong, self.slowest = 0, 0, 0, 0.0
        self._socket = lab[client].socket(socket.SOCK_DGRAM)
        self._socket.settimeout(1.0)
        self._socket.connect((GATEWAY, 53))
        self._questions = [
            b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0\0\1\0\1"
            for name in names
        ]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            head = struct.pack("!6H", number & 0xFFFF, 0x0100, 1, 0, 0, 0)
            started = time.monotonic()
            try:
                self._socket.send(head + self._questions[number % len(self._questions)])
                while (reply := self._socket.recv(4096))[:2] != head[:2]:
                    continue
            except OSError:
                self.lost += 1
                continue
            self.slowest = max(self.slowest, time.monotonic() - started)
            # NOERROR, and at least one answer.
            good = reply[3] & 15 == 0 and reply[6:8] != b"\0\0"
            self.answered, self.wrong = self.answered + good, self.wrong + (not good)
            time.sleep(0.0005)  # bounded, and the router has but part of two cores


def test_guests_come_and_go_and_nobody_loses_a_query(lab: Lab, upstreams: list[Daemon]) -> None:
    def main_pids() -> list[str]:
        return [lab.unit(f"sysvm-dnsmasq@{link}", "MainPID") for link in ("guest0", "guest1")]

    before = main_pids()
    started = time.monotonic()
    with Load(lab, "vm1", ["vm1.a.example", "vm2.a.example", "vm1", WEB_NAME]) as load:
        for number in range(20):
            mac, name = f"02:00:0a:01:09:{number:02x}", f"new{number}"
            reservation = {"address": f"10.1.1.{50 + number}", "hostname": name}
            lab.patch({"dhcp": {"guest0": {"reservations": {mac: reservation}}}})
            until(
                lambda name=name, number=number: lab["vm2"].dig(f"{name}.a.example", server=GATEWAY)
                == [f"10.1.1.{50 + number}"],
                seconds=2,
            )  # fmt: skip
        for number in range(20):
            mac, name = f"02:00:0a:01:09:{number:02x}", f"new{number}"
            if number % 2:
                moved = {"address": f"10.1.1.{80 + number}"}
                lab.patch({"dhcp": {"guest0": {"reservations": {mac: moved}}}})
                until(
                    lambda name=name, number=number: lab["vm2"].dig(f"{name}.a.example", server=GATEWAY)
                    == [f"10.1.1.{80 + number}"],
                    seconds=2,
                )  # fmt: skip
            lab.patch({"dhcp": {"guest0": {"reservations": {mac: None}}}})
            until(
                lambda name=name: lab["vm2"].dig(f"{name}.a.example", server=GATEWAY) == "NXDOMAIN",
                seconds=2,
            )
        lab.patch({"dns": {"guest0": {"records": {"static": ["10.1.1.90"]}}}})
        while time.monotonic() - started < 10:
            time.sleep(0.1)
    assert (load.lost, load.wrong) == (0, 0), vars(load)
    assert load.answered > 1000
    assert load.slowest < 1.0
    assert main_pids() == before
    assert lab.drift() == []


def test_a_change_of_upstreams_loses_at_most_what_was_just_asked(lab: Lab, upstreams: list[Daemon]) -> None:
    """dnsmasq takes no answer of a server that it was told to forget; one question at a time is open."""
    with Load(lab, "vm1", ["vm1.a.example", WEB_NAME]) as load:
        for number in range(4):
            one = UPSTREAMS[(number + 1) % 2]
            lab.patch({"dns": {"guest0": {"upstreams": [{"address": one}]}}})
    assert load.lost <= 4 and load.wrong == 0, vars(load)
    assert load.answered > 100
