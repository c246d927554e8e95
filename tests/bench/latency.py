"""How long a small packet takes through the router's machine to a guest whose rate a download fills: with
the queue that the router makes, and with HTB alone."""

import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from appliance.runtime import namespace
from images.image import build as build_image
from images.step import Steps
from images.tree import default_cache
from tests.bench.benchmark import Say, table
from tests.vm.between import GUEST, INTERNET, Between, between, document

TITLE = "Latency under load, behind a rate"
RATE = 16_000_000
"""Bits per second."""
_ROUNDS = 3
_SECONDS = 8
_RISING_SECONDS = 4
"""Until TCP has filled what there is to fill."""
_INTERVAL = 0.05
_IDLE = "no rate, nobody else"
_OURS = "the router's queue: HTB with fq_codel"
_ALONE = "HTB alone: its class has the kernel's own queue, pfifo of 1,000 packets"
_LIMITED = {**document(), "limits": {"guests": {GUEST: {"received": {"rate": RATE}}}}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    trips: list[float]
    """Milliseconds, there and back, of each ping."""
    megabits: float
    """Of TCP meanwhile, per second."""


def run(say: Say) -> str:
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as directory:
        place = Path(directory)
        say("the image")
        steps = Steps(log=place / "log")
        image = build_image("router", out=place, cache=default_cache(), steps=steps, formats=["qcow2"])
        with between(image.directory / "sysvm-router.qcow2", place, name="bchlat") as lab:
            say("boot")
            lab.start()
            return _text(_measure(lab, say))


def _measure(lab: Between, say: Say) -> dict[str, list[Seen]]:
    modes: Mapping[str, tuple[Callable[[Between], object], bool]] = {
        _IDLE: (lambda lab: lab.put(document()), False),
        _OURS: (_ours, True),
        _ALONE: (_alone, True),
    }
    seen: dict[str, list[Seen]] = {mode: [] for mode in modes}
    server = subprocess.Popen(
        namespace.entering(lab.namespace("net"), ["iperf3", "--server"]), stdout=subprocess.DEVNULL
    )
    try:
        for number in range(_ROUNDS):
            for mode, (begin, loaded) in modes.items():
                say(f"{mode}, {number + 1} of {_ROUNDS}")
                lab.sh("systemctl kill --signal=CONT sysvm-agent")
                begin(lab)
                seen[mode].append(_once(lab, loaded=loaded))
    finally:
        server.terminate()
        server.wait()
    return seen


def _ours(lab: Between) -> None:
    lab.put(_LIMITED)
    assert _queue(lab).startswith("fq_codel ")


def _alone(lab: Between) -> None:
    """The same class; only what waits in it is another queue. The agent would put ours back: it waits."""
    lab.put(_LIMITED)
    lab.sh("systemctl kill --signal=STOP sysvm-agent")
    parent = _queue(lab).split()[-1]
    lab.sh(f"tc qdisc replace dev guest0 parent {parent} handle 7: pfifo limit 1000")
    assert _queue(lab).startswith("pfifo ")


def _queue(lab: Between) -> str:
    """KIND and CLASS of what waits in the guest's class."""
    listed = re.findall(r"qdisc (\S+) .*?parent (\S+:\S+)", lab.sh("tc qdisc show dev guest0"))
    (only,) = [each for each in listed if not each[1].startswith(":")]
    return " ".join(only)


def _once(lab: Between, *, loaded: bool) -> Seen:
    guest = lab.namespace("vm1")
    seconds = _RISING_SECONDS + _SECONDS + 1
    argv = ["iperf3", "--client", INTERNET, "--reverse", "--time", str(seconds), "--format", "m"]
    load = (
        subprocess.Popen(namespace.entering(guest, argv), stdout=subprocess.PIPE, text=True)
        if loaded
        else None
    )
    if load is not None:
        time.sleep(_RISING_SECONDS)
    ping = ["ping", "-i", str(_INTERVAL), "-w", str(_SECONDS), INTERNET]
    trips = re.findall(r"time=([0-9.]+) ms", namespace.run(guest, ping, timeout=60).stdout)
    megabits = 0.0
    if load is not None:
        said = load.communicate(timeout=60)[0]
        found = re.search(r"([0-9.]+) Mbits/sec +receiver", said)
        assert found, said
        megabits = float(found[1])
    return Seen(trips=[float(each) for each in trips], megabits=megabits)


def _text(seen: Mapping[str, list[Seen]]) -> str:
    rows = []
    for mode, rounds in seen.items():
        trips = [trip for each in rounds for trip in each.trips]
        carried = median(each.megabits for each in rounds)
        figures = (median(trips), quantiles(trips, n=20)[-1], max(trips))
        rows.append([mode, *(f"{each:,.0f}" for each in figures), f"{carried:.1f}" if carried else ""])
    text = (
        f"Pings of a guest's to the outside, each {_INTERVAL * 1000:.0f} ms, while one TCP connection fills "
        f"the {RATE // 10**6} Mbit/s that the guest may receive. Emulated by QEMU (TCG), one processor; "
        f"{_ROUNDS} rounds in turn of {_SECONDS} s each, in the same machine."
    )
    return f"{text}\n\n{table(['', 'ms, median', '95th of 100', 'longest', 'TCP Mbit/s'], rows)}"
