"""A redundant pair: how long nobody answers when the primary dies, and what a planned switch-over loses."""

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from appliance.runtime import namespace
from appliance.runtime.container import Containers
from appliance.runtime.runtime import Interface
from appliance.runtime.segment import Switch
from images.tree import build
from tests.bench.benchmark import Say, milliseconds, table

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "router"))

from flows import Echo, Flow, Pings
from pair_lab import PairLab, document, other
from router_lab import WEB, until

TITLE = "Fail-over of a redundant pair"
_ROUNDS = 5
_CONNECTIONS = 100
_ADDRESS = "192.0.2.100"
_WHAT = f"""\
The primary's cables are cut and its container is killed, {_ROUNDS} times each, while {_CONNECTIONS} TCP
connections by source NAT, UDP flows by source NAT and by a port forward (100 datagrams a second) and a ping
have run for 5 s. Milliseconds without an answer to a datagram; the aim is under 500 at adverts every 100 ms,
and no connection lost. `keepalived alone` is two namespaces with nothing but the shortest keepalived.conf of
one instance and one address, whose first one dies, and a client that pings the address.
"""
_BARE = ("bchbare1", "bchbare2", "bchbareg")


def run(say: Say) -> str:
    with _pair() as pair:
        rows = []
        for interval in (100, 300):
            say(f"adverts every {interval} ms")
            pair.put(lambda name, interval=interval: document(name, advert_milliseconds=interval))
            rows.append((f"router, {interval} ms", *_killed(pair, say)))
            say(str(rows[-1]))
        pair.put()
        say("planned switch-over")
        switched = _switched(pair)
        say(f"lost: {switched}")
    for interval in (100, 300):
        say(f"keepalived alone, {interval} ms")
        rows.append((f"keepalived alone, {interval} ms", *_bare(interval)))
    return "\n\n".join(
        [
            _WHAT,
            table(
                (
                    "adverts",
                    "silence, median",
                    "longest",
                    "connections lost",
                    "flows that changed outside",
                ),
                rows,
            ),
            f"A planned switch-over, {2 * _ROUNDS} times: at most {max(switched)} of 100 datagrams a second "
            f"were lost, {sum(switched)} in all. The aim is one.",
        ]
    )


def _killed(pair: PairLab, say: Say) -> tuple[str, str, int, int]:
    gaps, lost, changed = [], 0, 0
    for number in range(_ROUNDS):
        say(f"round {number + 1} of {_ROUNDS}")
        primary = pair.settled()
        with ExitStack() as stack:
            streams = [
                stack.enter_context(Flow(pair["vm1"], WEB, 7, udp=False, interval=0.5))
                for _ in range(_CONNECTIONS)
            ]
            datagrams = [
                stack.enter_context(Flow(pair["vm1"], WEB, 7, udp=True)),
                stack.enter_context(Flow(pair["net"], "203.0.113.3", 8081, udp=True)),
            ]
            pings = Pings(pair["vm1"], WEB)
            time.sleep(5)
            before = [set(flow.seen) for flow in (*streams, *datagrams)]
            pair.power_cut(primary)
            time.sleep(4)
            pings.stop()
            for flow in (*streams, *datagrams):
                flow.stop()
        gaps += [flow.longest_silence for flow in datagrams]
        lost += sum(flow.error is not None or flow.lost > 0 for flow in streams)
        changed += sum(flow.seen != seen for flow, seen in zip((*streams, *datagrams), before, strict=True))
        pair.routers[primary].start()
        pair.routers[primary].ready()
    return milliseconds(statistics.median(gaps)), milliseconds(max(gaps)), lost, changed


def _switched(pair: PairLab) -> list[int]:
    losses = []
    for _ in range(2 * _ROUNDS):
        primary = pair.settled()
        with Flow(pair["vm1"], WEB, 7, udp=True) as flow:
            time.sleep(1)
            answer = pair.routers[primary].request("POST", "/v1/switch-over")
            if answer.status != 200:
                raise RuntimeError(answer.text)
            time.sleep(1)
            flow.stop()
        losses.append(flow.lost)
        until(lambda primary=primary: pair.settled() == other(primary))
    return losses


@contextmanager
def _pair() -> Iterator[PairLab]:
    containers = Containers("bchpair")
    containers.clear()
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as directory:
        lab = PairLab(containers, build("router"), Path(directory))
        try:
            lab.up()
            lab.put()
            for udp in (False, True):
                Echo(lab["net"], 7, udp=udp, address=WEB)
            Echo(lab["vm1"], 81, udp=True)
            yield lab
        finally:
            lab.close()


def _bare(interval: int) -> tuple[str, str, str, str]:
    gaps = [_bare_gap(interval) for _ in range(_ROUNDS)]
    return milliseconds(statistics.median(gaps)), milliseconds(max(gaps)), "-", "-"


def _bare_gap(interval: int) -> float:
    """Seconds from the primary's death to the first echo of its address; asked every 5 ms."""
    with _bare_pair(interval) as (primary, ask):
        asking = subprocess.Popen(
            namespace.entering(ask, ["ping", "-n", "-D", "-i", "0.005", _ADDRESS]),
            stdout=subprocess.PIPE,
            text=True,
        )
        time.sleep(2)
        killed = time.time()
        primary.kill()
        namespace.run(_BARE[0], ["ip", "link", "set", "eth0", "down"], check=True)
        time.sleep(1)
        # Whatever else the machine does meanwhile: the first answer is what is looked for.
        ping = ["ping", "-n", "-c", "1", "-W", "1", _ADDRESS]
        until(lambda: namespace.run(ask, ping).returncode == 0, seconds=30, what="the second one answers")
        asking.send_signal(signal.SIGINT)
        said = asking.communicate(timeout=10)[0]
    times = [float(line[1 : line.index("]")]) for line in said.splitlines() if "bytes from" in line]
    return min(at for at in times if at > killed + 0.02) - killed


@contextmanager
def _bare_pair(interval: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Two keepalived of the router's tree, each in a namespace; the first is the primary. And who asks."""
    running: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sysvm-bench-")))
        stack.callback(_clear_bare)
        _clear_bare()
        switch = Switch("bchbare")
        switch.up(["net"])
        for number, name in enumerate(_BARE, 1):
            namespace.create(name)
            switch.plug(Interface(segment="net", mac=f"02:00:00:0b:00:0{number}"), into=name, name="eth0")
            for argv in (["link", "set", "lo", "up"], ["link", "set", "eth0", "up"],
                         ["address", "add", f"192.0.2.{number}/24", "dev", "eth0"]):  # fmt: skip
                namespace.run(name, ["ip", *argv], check=True)
        for number, name in enumerate(_BARE[:2], 1):
            (directory / f"{number}.conf").write_text(
                "vrrp_instance bare {\n    state BACKUP\n    version 3\n    interface eth0\n"
                f"    virtual_router_id 51\n    priority {200 - number}\n"
                f"    advert_int {interval / 1000:.2f}\n"
                f"    virtual_ipaddress {{\n        {_ADDRESS}/24\n    }}\n}}\n"
            )
            files = [f"--{kind}=/mnt/{number}.{kind}" for kind in ("pid", "vrrp_pid")]
            daemon = f"keepalived --dont-fork --vrrp --use-file=/mnt/{number}.conf {' '.join(files)}"
            mounted = f"mount --bind {directory} $0/mnt && exec chroot $0 {daemon}"
            argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "sh", "-c", mounted,
                    str(build("router"))]  # fmt: skip
            running.append(subprocess.Popen(namespace.entering(name, argv), start_new_session=True))
            stack.callback(running[-1].wait)
            stack.callback(running[-1].kill)
        time.sleep(3)
        yield running[0], _BARE[2]


def _clear_bare() -> None:
    for name in (*_BARE, Switch("bchbare").namespace):
        if namespace.exists(name):
            namespace.delete(name)
