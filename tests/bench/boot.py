"""From power on to a router that is configured and answers."""

import dataclasses
import time
from contextlib import suppress
from statistics import median

from appliance.management.client import AgentError
from tests.bench import documents, effect
from tests.bench.benchmark import Say, milliseconds, table
from tests.bench.inside import inside
from tests.bench.lab import GUEST, MANAGEMENT, Lab, laboratory

TITLE = "Boot: from power on to configured and answering"
_ROUNDS = 7
_SIZES = (50, 10_000)


def run(say: Say) -> str:
    rows = []
    with laboratory(router=False) as lab:
        bare = []
        for number in range(_ROUNDS):
            say(f"bare tree, {number + 1} of {_ROUNDS}")
            bare.append(_boot_bare(lab))
        rows.append(
            ["the same tree without our agent, to multi-user.target", milliseconds(median(bare)), ""]
        )
        for size in _SIZES:
            lab.start_router()
            lab.put(documents.filled(size))
            taken = []
            for number in range(_ROUNDS):
                say(f"{size:,} of each, {number + 1} of {_ROUNDS}")
                taken.append(_boot_router(lab, size))
            for what in taken[0]:
                seconds = median(each[what] for each in taken)
                rows.append(
                    [
                        f"router with {size:,} of each: {what}",
                        milliseconds(seconds),
                        f"{seconds / median(bare):.1f}x",
                    ]
                )
    text = f"Containers, medians of {_ROUNDS}. What is stored is a document; the API answers once it runs."
    return "\n\n".join([text, table(["", "ms", "of the bare tree"], rows)])


def _boot_bare(lab: Lab) -> float:
    lab.stop_router()
    masked = {"/etc/systemd/system/sysvm-agent.service": b"[Service]\nExecStart=/bin/true\n"}
    machine = dataclasses.replace(lab.machine(), files=masked)
    started = time.perf_counter()
    lab.runtime.start(machine)
    return time.perf_counter() - started


def _boot_router(lab: Lab, size: int) -> dict[str, float]:
    lab.stop_router()
    machine = lab.machine()
    name = f"vm{size - 1}.{documents.DOMAIN}"
    started = time.perf_counter()
    named = effect.Watch(
        effect.resolves(name, documents.guest_address(size - 1)), namespace=lab.namespace(GUEST)
    )
    lab.runtime.start(machine, wait=None)
    while True:
        # The link of a router that is off loses no packet in silence for long: each try is short.
        with suppress(AgentError), inside(lab.namespace(MANAGEMENT)):
            if lab.agent.status().state == "converged":
                break
        time.sleep(0.005)
    answered = time.perf_counter() - started
    return {"the API says converged": answered, "and DNS answers for a guest": max(answered, named.wait())}
