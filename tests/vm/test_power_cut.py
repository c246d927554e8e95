"""Power is cut in the middle of an apply: what comes back is the last good document or the new one."""

import contextlib
import random
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.agent.store import Store
from appliance.management.client import AgentError
from tests.vm.conftest import Start
from tests.vm.documents import GUEST, PUBLIC, large, text
from tests.vm.emulated import Emulated, blank_state, more_card, together

CUTS = 20
LANES = 2
BOOTED = 3
GUESTS = 300
IDLE = "idle"
CARDS = (*more_card(GUEST), *more_card(PUBLIC))
GOOD, NEW = large(1, guests=GUESTS), large(2, guests=GUESTS)


@dataclass(frozen=True)
class Cut:
    seconds: float
    """After the document was sent."""
    disk: Path
    """What the state disk had on it then."""
    acknowledged: bool


def test_twenty_power_cuts_in_the_middle_of_an_apply(machine: Start, tmp_path: Path) -> None:
    """QEMU is killed (SIGKILL) at twenty random moments of an apply, spread over all of it.

    Not to boot twenty times, the machine is kept once, idle, running the good document; each time it goes on
    from there, gets the new document, and is killed. What its state disk had then is kept: all that the
    machine's kernel has handed to QEMU by then, and nothing that it hasn't. (A host that loses power forgets
    what it had in its own cache, too, but for what was synchronized; this isn't tried.)

    Of each of the twenty disks the file system is repaired as at boot (e2fsck -p), and the document is read
    by the appliance's own store. Three of them, chosen at random, boot up to the API, on hardware of three
    kinds; these must be converged to that document.
    """
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    first = machine("first", state=blank_state(tmp_path))
    first.start(*CARDS)
    first.wait_until_it_answers()
    with first.agent() as agent:
        assert agent.put(text(GOOD)).state == "converged"
    first.snapshot(IDLE)
    first.cut_power()
    lanes = [machine_copy(first, tmp_path / f"lane{number}") for number in range(LANES)]
    # How long it takes, with as much going on; and what was acknowledged is there for good.
    with ThreadPoolExecutor(LANES) as threads:
        whole = list(threads.map(lambda lane: cut(lane, 3600.0), lanes))
    for one in whole:
        assert one.acknowledged
        assert stored(one.disk) == NEW
    slowest = max(one.seconds for one in whole)
    # One moment of each twentieth of it.
    moments = [(number + chance.random()) / CUTS * slowest for number in range(CUTS)]

    def run(number: int) -> list[Cut]:
        return [cut(lanes[number], moment) for moment in moments[number::LANES]]

    with ThreadPoolExecutor(LANES) as threads:
        cuts = [one for some in threads.map(run, range(LANES)) for one in some]
    found = {one: stored(one.disk) for one in cuts}
    for one, document in found.items():
        assert document in ((NEW,) if one.acknowledged else (GOOD, NEW)), f"after {one.seconds:.2f} s"
    kept = sum(document == NEW for document in found.values())
    print(
        f"an apply takes {slowest:.1f} s; of {CUTS} cuts {CUTS - kept} left the old document, {kept} the new"
    )
    chosen = [
        boots_with(machine, number, one, found[one])
        for number, one in enumerate(chance.sample(cuts, BOOTED))
    ]
    together(*chosen)


def machine_copy(first: Emulated, directory: Path) -> Emulated:
    directory.mkdir()
    return first.copy(directory)


def cut(lane: Emulated, seconds: float) -> Cut:
    """Push the new document to the idle machine; kill it so many seconds later, or when it has answered."""
    lane.start(*CARDS, snapshot=IDLE)
    answered: list[bool] = []
    done = threading.Event()

    def push() -> None:
        with contextlib.suppress(AgentError), lane.agent() as agent:
            answered.append(agent.put(text(NEW)).state == "converged")
        done.set()

    lane.wait_until_it_runs()
    pushing = threading.Thread(target=push)
    begun = time.monotonic()
    pushing.start()
    done.wait(seconds)
    # Before the kill: only what was acknowledged by then counts as such.
    acknowledged = answered == [True]
    taken = time.monotonic() - begun
    lane.cut_power()
    pushing.join()
    disk = lane.directory / f"cut-{lane.boots}.raw"
    assert lane.state is not None
    subprocess.run(["qemu-img", "convert", "-O", "raw", lane.state, disk], check=True)
    return Cut(seconds=taken, disk=disk, acknowledged=acknowledged)


def stored(disk: Path) -> Any:
    """The document on a state disk, whose file system is repaired as at boot."""
    copy = disk.with_suffix(".fsck")
    subprocess.run(["cp", "--sparse=always", disk, copy], check=True)
    checked = subprocess.run(["e2fsck", "-p", copy], capture_output=True, text=True)
    assert checked.returncode < 4, checked.stdout + checked.stderr
    directory = disk.with_suffix(".files")
    directory.mkdir()
    for name in ("document.json", "document.candidate", "patches.jsonl"):
        dump = f"dump /{name} {directory / name}"
        subprocess.run(["debugfs", "-R", dump, copy], check=True, capture_output=True)
    copy.unlink()
    return Store(directory).load()


WAYS: list[dict[str, Any]] = [
    {"uefi": True, "bus": "nvme,serial=1"},
    {"bus": "scsi", "state_device": "scsi-hd"},
    {"bus": "vmware", "card": "vmxnet3", "state_device": "scsi-hd"},
]


def boots_with(machine: Start, number: int, one: Cut, document: Any) -> Any:
    """Boots another machine with what is left of a cut, to say that it runs the document."""
    router = machine(f"booted{number}", state=one.disk)

    def boot() -> None:
        router.start(*CARDS, **WAYS[number])
        status = router.wait_until_it_answers()
        assert status.answer["storage"].startswith("disk")
        with router.agent() as agent:
            assert (agent.status().state, agent.config()) == ("converged", document)
        router.cut_power()

    return boot
