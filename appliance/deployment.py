"""An appliance of the management plane as a machine: started where its placement says, and upgraded.

An upgrade replaces the machine by one from another image, which finds the disk or directory that the old one
kept: its document, leases, passwords and counters. Before, a snapshot is taken of that, and the placement
names the image to go back to; so whoever comes next, whatever became of this process, knows how far it got.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from appliance.management.placement import Card, Placement
from appliance.management.remote import Remote, RemoteError
from appliance.runtime.host import runtime
from appliance.runtime.runtime import Hardware, Interface, Machine, MachineError, Runtime

HEALTHY_SECONDS = 120.0
"""How long a new machine has to report that it is right, an emulated one more."""
_SETTLED_SECONDS = 30.0
"""A machine that runs may be in the middle of a push. Its health checks are made every 15 s, and the other
one of its pair may be back since the last ones."""
_POLL = 1.0

Progress = Callable[[str], None]


class UnhealthyError(Exception):
    """What an appliance doesn't do, in a sentence."""


class WentBackError(Exception):
    """An upgrade that failed; the appliance runs from its old image again."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Raises RemoteError where the management plane can't help, MachineError where the host can't."""

    remote: Remote
    name: str
    placement: Placement
    progress: Progress = lambda step: None

    @classmethod
    def of(cls, remote: Remote, name: str, *, progress: Progress = lambda step: None) -> "Deployment":
        """Where an appliance runs by now. Raises RemoteError, with status 404 where nobody said."""
        _, answer = remote.ask("GET", f"{_path(name)}/placement")
        return cls(remote=remote, name=name, placement=Placement(**answer), progress=progress)

    @property
    def runtime(self) -> Runtime:
        return runtime(self.placement.host, cloud=self.placement.cloud, progress=self.progress)

    def machine(self, image: str) -> Machine:
        """With boot data, issued anew."""
        _, boot = self.remote.ask("POST", f"{_path(self.name)}/boot")
        return machine(self.name, self.placement, image=image, boot=boot)

    def place(self, **changes: Any) -> "Deployment":
        """Have the management plane know that the placement is another."""
        wanted = self.placement.model_copy(update=changes)
        self.remote.ask("PUT", f"{_path(self.name)}/placement", body=wanted.model_dump())
        return replace(self, placement=wanted)

    def start(self, *, wait: float | None = None) -> None:
        """Power on; what an interrupted upgrade left is put in order before."""
        if self.settle() is self:
            self.runtime.start(self.machine(self.placement.image), wait=wait)

    # --- interfaces ---------------------------------------------------------------------------------

    def attach(self, card: Card) -> "Deployment":
        """Plug an interface into the machine, running or not."""
        if card.mac in {each.mac for each in self.placement.interfaces}:
            raise MachineError(f"{self.name} has an interface with {card.mac}")
        if self.runtime.status(self.name).running:
            self.runtime.attach(self.name, Interface(segment=card.segment, mac=card.mac))
        return self.place(interfaces=[*self.placement.interfaces, card])

    def detach(self, mac: str) -> "Deployment":
        """Pull an interface out of the machine, running or not."""
        if self.runtime.status(self.name).running:
            self.runtime.detach(self.name, mac)
        return self.place(interfaces=[card for card in self.placement.interfaces if card.mac != mac])

    # --- upgrade ------------------------------------------------------------------------------------

    def upgrade(self, image: Path, *, patience: float = HEALTHY_SECONDS) -> "Deployment":
        """Replace the machine by one from `image`. One that doesn't report healthy within `patience` seconds
        (an emulated one gets more) is replaced by the old one again, with what that had kept: WentBackError.

        Raises UnhealthyError or MachineError, and touches nothing, where the old one isn't healthy, or can't
        be gone back to.
        """
        settled = self.settle()
        if settled.placement.image == str(image):
            return settled
        before = settled.wait(patience=_SETTLED_SECONDS if settled is self else patience)
        old = settled.placement.image
        if not Path(old).exists():
            raise MachineError(f"{old}, which {self.name} runs from and could go back to, is gone")
        machines = settled.runtime
        changed = settled.place(image=str(image), previous=old)
        try:
            self.progress(f"stopping {self.name}")
            machines.stop(self.name)
            machines.snapshot(self.name)
            self.progress(f"starting it from {image}")
            machines.start(changed.machine(str(image)), wait=None)
            after = changed.wait(patience=patience)
            expect_counted(before.usage, after.usage)
        except (UnhealthyError, MachineError, RemoteError) as error:
            self.progress(f"{error}; going back")
            # However little patience the new one got: this one is known to work.
            changed.settle().wait(patience=max(patience, HEALTHY_SECONDS))
            raise WentBackError(f"{self.name} runs from {old} again: {error}") from error
        done = changed.place(previous=None)
        machines.forget_snapshot(self.name)
        return done

    def settle(self) -> "Deployment":
        """End an upgrade that was interrupted: by going back, unless it had reached its end."""
        machines, old = self.runtime, self.placement.previous
        if old is None:
            machines.forget_snapshot(self.name)
            return self
        self.progress(f"an upgrade of {self.name} hasn't ended: starting it from {old} again")
        if machines.has_snapshot(self.name):
            machines.kill(self.name)
            machines.revert(self.name)
        else:
            machines.stop(self.name)
        machines.start(self.machine(old), wait=None)
        return self.place(image=old, previous=None)

    def wait(self, *, patience: float) -> "Report":
        """What the appliance reports once it is converged and healthy. Raises UnhealthyError with what it
        lacked last, `patience` seconds from now."""
        deadline = time.monotonic() + patience * self.runtime.slowness(self.name)
        while True:
            try:
                return _report(self.remote, self.name)
            except (UnhealthyError, RemoteError) as error:
                if time.monotonic() > deadline:
                    raise UnhealthyError(f"{self.name} isn't healthy: {error}") from error
            if patience and not self.runtime.status(self.name).running:
                raise UnhealthyError(f"{self.name} ended by itself")
            time.sleep(_POLL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a healthy appliance said of itself."""

    image: str
    usage: Mapping[str, Any]


def machine(name: str, placement: Placement, *, image: str, boot: Mapping[str, Any]) -> Machine:
    """An appliance as its placement has it."""
    hardware = Hardware(memory=placement.memory, cpus=placement.cpus, firmware=placement.firmware)
    interfaces = tuple(Interface(segment=card.segment, mac=card.mac) for card in placement.interfaces)
    return Machine(
        name=name,
        image=Path(image),
        interfaces=interfaces,
        boot=json.dumps({**boot, "ssh_keys": placement.ssh_keys}).encode(),
        keeps=True,
        hardware=hardware,
    )


def _report(remote: Remote, name: str) -> Report:
    _, known = remote.ask("GET", _path(name))
    _, status = remote.ask("GET", f"{_path(name)}/status")
    if status["generation"] != known["wanted"] or status["state"] not in ("converged", "empty"):
        raise UnhealthyError(f"it is {status['state']} at generation {status['generation']}")
    _, health = remote.ask("GET", f"{_path(name)}/health")
    failed = [f"{check['name']}: {check['detail']}" for check in health["checks"] if not check["ok"]]
    if failed:
        raise UnhealthyError("; ".join(failed))
    _, usage = remote.ask("GET", f"{_path(name)}/usage", query={"own": "true"})
    return Report(image=status["versions"].get("image", "?"), usage=usage)


def expect_counted(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Counters that people are billed by never go back."""
    for name, counter in before.items():
        for way, counts in counter.items():
            for noun, number in counts.items():
                if after.get(name, {}).get(way, {}).get(noun, 0) < number:
                    raise UnhealthyError(
                        f"it has lost what it counted: {name} {way} {noun}, {number} before"
                    )


def _path(name: str) -> str:
    return f"/v1/appliances/{quote(name, safe='')}"
