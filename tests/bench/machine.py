"""From power on to a virtual machine that is configured and answers; a bare Debian beside it."""

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median

from appliance.management.client import AgentError
from images import drivers, qcow2
from images.recipe import Recipe
from images.tree import build_recipe, default_cache
from tests.bench import debian, documents
from tests.bench.benchmark import Say, table
from tests.vm.emulated import ACCELERATION, PATIENCE, Emulated

TITLE = "Boot of a virtual machine"
_ROUNDS = 3
_SIZE = 50
_STEP = 0.05
_CARDS = (documents.GUEST_MAC, documents.PUBLIC_MAC)
ROUTER = "our router, until the API says converged"
STOCK = "bare Debian, until its login prompt"
OUR_INITRD = "bare Debian with our initrd, until its login prompt"


def run(say: Say) -> str:
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as place:
        directory = Path(place)
        machines = {STOCK: stock(directory, say), OUR_INITRD: with_our_initrd(directory, say)}
        boots: dict[str, Callable[[], float]] = {
            what: lambda machine=machine: until_login(machine)  # type: ignore[misc]
            for what, machine in machines.items()
        }
        router = configured(directory, say)
        boots[ROUTER] = lambda: until_converged(router)
        # Once, so that what only a first boot does is done.
        for machine in machines.values():
            until_login(machine)
        taken: dict[str, list[float]] = {what: [] for what in boots}
        for number in range(_ROUNDS):
            for what, boot in boots.items():
                say(f"{what}, {number + 1} of {_ROUNDS}")
                taken[what].append(boot())
    ours = median(taken[ROUTER])
    rows = [
        [what, f"{median(each):.1f}", f"{min(each):.1f} to {max(each):.1f}", f"{ours / median(each):.2f}"]
        for what, each in taken.items()
    ]
    text = (
        f"QEMU with `{' '.join(ACCELERATION)}`, one processor, 512 MB, BIOS: firmware, boot loader and "
        f"kernel are the same for all; started in turn, {_ROUNDS} rounds. The router has {_SIZE} of each in "
        "its stored document, and two cards more. The bare Debian is minbase with systemd, udev and "
        "initramfs-tools: once with the initrd that these make, once with ours, so that only what comes "
        "after it differs."
    )
    return "\n\n".join([text, table(["", "median s", "all s", "ours takes of it"], rows)])


def stock(directory: Path, say: Say) -> Emulated:
    bare = debian.build(say)
    return machine(
        directory, "debian", bare.disk(directory / "a.qcow2", initrd=bare.initrd, scratch=directory)
    )


def with_our_initrd(directory: Path, say: Say) -> Emulated:
    bare = debian.build(say)
    tree = build_recipe(Recipe.of_machine("router"), cache=default_cache(), progress=say)
    busybox = tree / "usr/bin/busybox"
    chosen = drivers.build(bare.loaders, busybox=busybox, cache=default_cache(), progress=say)
    disk = bare.disk(directory / "b.qcow2", initrd=chosen.initrd, scratch=directory)
    return machine(directory, "debian-our-initrd", disk)


def configured(directory: Path, say: Say, *, size: int = _SIZE) -> Emulated:
    """A router that has stored a document with so many of each, and is off."""
    say("the router's image")
    router = machine(directory, documents.NAME, qcow2.build("router", progress=say))
    say("storing a document")
    try:
        start(router)
        router.wait_until_it_answers()
        with router.agent() as agent:
            agent.put(json.dumps({**documents.filled(size), "generation": 1}).encode())
    finally:
        router.cut_power()
    return router


def machine(directory: Path, name: str, disk: Path) -> Emulated:
    place = directory / name
    place.mkdir()
    return Emulated(place, disk, name=name)


def start(router: Emulated) -> None:
    """With the cards of the document."""
    cards: list[str] = []
    for number, mac in enumerate(_CARDS):
        cards += ["-netdev", f"user,id=card{number},restrict=on"]
        cards += ["-device", f"virtio-net-pci,netdev=card{number},mac={mac},romfile="]
    router.start(*cards)


def until_login(bare: Emulated) -> float:
    """Seconds from power on."""
    started = time.monotonic()
    try:
        bare.start(smbios=False)
        seen(bare, " login:", started=started)
        return time.monotonic() - started
    finally:
        bare.cut_power()


def until_converged(router: Emulated) -> float:
    """Seconds from power on."""
    started = time.monotonic()
    try:
        start(router)
        # Who asks before somebody listens waits for a time-out; so the console is looked at first.
        seen(router, "Listening on", started=started)
        while True:
            with suppress(AgentError), router.agent() as agent:
                if agent.status().state == "converged":
                    return time.monotonic() - started
            give_up(router, started)
    finally:
        router.cut_power()


def seen(machine: Emulated, text: str, *, started: float) -> None:
    while text not in machine.console:
        give_up(machine, started)
        time.sleep(_STEP)


def give_up(machine: Emulated, started: float) -> None:
    if time.monotonic() > started + PATIENCE:
        raise TimeoutError(f"No end of it within {PATIENCE:g} s; the console:\n{machine.console[-3000:]}")
