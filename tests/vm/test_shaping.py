"""Queues on a whole kernel: HTB with fq_codel, beside the flowtable, on cards of its own."""

import socket
import statistics
import threading
import time
from collections.abc import Iterator

import pytest

from images.image import Image
from tests.vm.between import GUEST, INTERNET, Between, between, document, until
from tests.vm.test_flowtable import PORT, carry, connected, offloaded

RATE = 16_000_000
"""Bits per second."""
PIECE = bytes(20_000)


@pytest.fixture(scope="module")
def lab(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Between]:
    disk = image.directory / "sysvm-router.qcow2"
    with between(disk, tmp_path_factory.mktemp("shaping"), name="shp") as made:
        made.start()
        yield made


class Bulk:
    """A connection that one end fills as fast as it can."""

    def __init__(self, here: socket.socket, there: socket.socket) -> None:
        self.received, self._ends = 0, (here, there)
        for work in (self._send, self._receive):
            threading.Thread(target=work, daemon=True).start()

    def _send(self) -> None:
        try:
            while True:
                self._ends[0].sendall(PIECE)
        except OSError:
            return

    def _receive(self) -> None:
        try:
            while content := self._ends[1].recv(1 << 18):
                self.received += len(content)
        except OSError:
            return

    def rate(self, seconds: float) -> float:
        before, begun = self.received, time.monotonic()
        time.sleep(seconds)
        return (self.received - before) / (time.monotonic() - begun)

    def end(self) -> None:
        for each in self._ends:
            each.shutdown(socket.SHUT_RDWR)


def echoes(lab: Between, count: int) -> list[float]:
    """Seconds until an answer from the internet is with the guest, of small packets one by one."""
    server = lab.socket("net", socket.SOCK_DGRAM)
    server.bind((INTERNET, 7))
    client = lab.socket("vm1", socket.SOCK_DGRAM)
    client.connect((INTERNET, 7))
    took = []
    for _ in range(count):
        begun = time.monotonic()
        client.send(b"?")
        _, peer = server.recvfrom(10)
        server.sendto(b"!", peer)
        client.recv(10)
        took.append(time.monotonic() - begun)
        time.sleep(0.05)
    server.close()
    return took


def shaped(lab: Between, link: str) -> list[str]:
    """What waits in the classes of a link's HTB, by kind."""
    lines = lab.sh(f"tc qdisc show dev {link}").splitlines()
    return [line.split()[1] for line in lines if "parent 5359:" in line]


def test_a_guest_s_rate_holds_and_its_small_packets_need_not_wait(lab: Between) -> None:
    wanted = {**document(), "limits": {"guests": {GUEST: {"received": {"rate": RATE}}}}}
    lab.put(wanted)
    assert lab.changes(wanted) == ()
    assert shaped(lab, "guest0") == ["fq_codel"]
    here, there = connected(lab, "vm1", INTERNET, PORT, "net")
    other, far = connected(lab, "vm2", INTERNET, PORT, "net")
    carry(other, far, 100_000)
    # From the internet to the guest.
    bulk = Bulk(there, here)
    until(lambda: bulk.received > RATE / 8)
    rate = bulk.rate(8)
    took = echoes(lab, 21)
    assert RATE / 8 * 0.5 < rate < RATE / 8 * 1.1, rate
    # Drop-tail with room for a thousand packets would make them wait for 0.7 s.
    assert statistics.median(took) < 0.25, took
    kept_out = [line for line in offloaded(lab, "tcp") if f"src={GUEST} " in line]
    assert not kept_out, "each of its packets meets the chains"
    carry(other, far, 100_000)
    assert [line for line in offloaded(lab, "tcp") if "src=10.1.1.11 " in line]
    # Changed under it, and taken off.
    faster = {**document(), "limits": {"guests": {GUEST: {"received": {"rate": 2 * RATE}}}}}
    lab.put(faster)
    assert lab.changes(faster) == ()
    time.sleep(1)
    assert bulk.rate(5) > rate * 1.3
    lab.put(document())
    assert shaped(lab, "guest0") == []
    assert bulk.rate(3) > rate
    bulk.end()


def test_it_comes_back_with_the_machine(lab: Between) -> None:
    network = {"sent": {"rate": RATE}, "received": {"rate": RATE}}
    wanted = {**document(), "limits": {"guests": {GUEST: network}, "networks": {"guest0": network}}}
    lab.put(wanted)
    assert lab.changes(wanted) == ()
    lab.machine.cut_power()
    lab.start()
    until(lambda: shaped(lab, "public0") == shaped(lab, "guest0") == ["fq_codel"] * 2)
    assert lab.changes(wanted) == ()
    here, there = connected(lab, "vm1", INTERNET, PORT, "net")
    bulk = Bulk(here, there)
    until(lambda: bulk.received > RATE / 8)
    rate = bulk.rate(8)
    assert RATE / 8 * 0.5 < rate < RATE / 8 * 1.1, rate
    bulk.end()
