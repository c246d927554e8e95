"""The primary is killed while flows of all kinds run, each of which tells what it lost."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from appliance.devcloud.checks import Verdict, expect, verdicts
from appliance.devcloud.layout import CLIENT_ADDRESS, INTERNET, WEB_ADDRESS
from appliance.devcloud.vpc import flow as flow_script
from appliance.devcloud.vpc.checks import VpcProver
from appliance.devcloud.vpc.layout import (
    BALANCED_ADDRESS,
    DB1,
    ECHO_PORT,
    FORWARDED_PORT,
    LAPTOP,
    OFFICE,
    OFFICE_HOST,
    PUBLIC_ADDRESS,
    ROUTERS,
    USER_ADDRESS,
    WEB1,
)
from appliance.runtime import namespace
from appliance.runtime.naming import full_name
from appliance.runtime.segment import Switch, port_name

Progress = Callable[[str], None]
_BEFORE_SECONDS, _SECONDS = 3.0, 11.0
"""How long flows run before the kill, and in all."""
_INTERVAL = 0.02
_LATE_SECONDS = 0.1
_PATIENCE = 60.0
"""For what flows say after their end, on a machine with much else to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A flow to be run: in a guest, or in a namespace."""

    what: str
    place: str
    kind: str
    address: str
    port: int = 0
    source: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether what isn't answered is sent again: of a datagram nobody does that."""
        return self.kind in ("tcp", "http")


FLOWS = (
    Kind(what="TCP, source NAT", place=WEB1.name, kind="tcp", address=WEB_ADDRESS, port=ECHO_PORT),
    Kind(what="UDP, source NAT", place=WEB1.name, kind="udp", address=WEB_ADDRESS, port=ECHO_PORT),
    Kind(what="ICMP, source NAT", place=WEB1.name, kind="icmp", address=WEB_ADDRESS),
    Kind(what="TCP, tier to tier", place=WEB1.name, kind="tcp", address=DB1.address, port=ECHO_PORT),
    Kind(what="TCP, port forward", place=INTERNET, kind="tcp", address=PUBLIC_ADDRESS, port=FORWARDED_PORT,
         source=CLIENT_ADDRESS),
    Kind(what="HTTP, load balancer", place=INTERNET, kind="http", address=BALANCED_ADDRESS, port=80,
         source=CLIENT_ADDRESS),
    Kind(what="TCP, WireGuard", place=LAPTOP, kind="tcp", address=WEB1.address, port=ECHO_PORT,
         source=USER_ADDRESS),
    Kind(what="TCP, IPsec", place=OFFICE, kind="tcp", address=WEB1.address, port=ECHO_PORT,
         source=OFFICE_HOST),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a flow."""

    kind: Kind
    sent: int
    answered: int
    late: int
    """Answers that took longer than 0.1 s."""
    silence: float
    """Seconds, the longest without an answer."""
    broken: str

    @property
    def lost(self) -> int:
        return self.sent - self.answered

    @property
    def ok(self) -> bool:
        """A connection has lost nothing. Of datagrams those are lost that came while nobody was there."""
        if self.broken or not self.answered:
            return False
        return not self.lost if self.kind.is_kept else self.silence < _SECONDS / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Failover:
    killed: str
    outcomes: Sequence[Outcome]
    verdicts: Sequence[Verdict]

    @property
    def sentence(self) -> str:
        """What was lost."""
        gone = [each for each in self.outcomes if each.lost and not each.kind.is_kept]
        said = f"{self.killed} was killed: no connection was lost, no flow ended."
        if not gone:
            return said
        datagrams, seconds = sum(each.lost for each in gone), max(each.silence for each in gone)
        return (
            f"{said} Of datagrams, which nobody sends again, {datagrams} came in the {seconds:.2f} s "
            "without a primary."
        )

    @property
    def failed(self) -> int:
        return sum(not each.ok for each in self.outcomes) + sum(not each.ok for each in self.verdicts)


def run(prover: VpcProver, start_again: Callable[[str], None], *, progress: Progress) -> Failover:
    """Kill the primary while flows run; afterwards `start_again` is called with its name, and it is to come
    back as the backup."""
    killed, heir = prover.routers()
    servers, usage = prover.servers(), prover.usage()
    progress(f"{len(FLOWS)} flows begin: TCP, UDP, ICMP and HTTP, also by WireGuard and IPsec")
    with ThreadPoolExecutor(len(FLOWS)) as pool:
        running = [pool.submit(_flow, prover, kind) for kind in FLOWS]
        time.sleep(_BEFORE_SECONDS)
        progress(f"killing {killed}, the primary")
        moment = time.monotonic()
        _cut_the_power(prover, killed)
        _until_primary(prover, heir)
        progress(f"{heir} says that it is the primary, {time.monotonic() - moment:.1f} s later")
        progress(f"the flows go on for {_SECONDS - _BEFORE_SECONDS:.0f} s more")
        outcomes = []
        for kind, future in zip(FLOWS, running, strict=True):
            outcome = judged(kind, future.result())
            outcomes.append(outcome)
            progress(f"{'ok' if outcome.ok else 'NOT'}  {kind.what}: {_words(outcome)}")
    after = {
        "the load balancer's clients have their servers": lambda: _same(servers, prover.servers()),
        "usage goes on from where it was": lambda: _grown(usage, prover.usage()),
        f"{killed} comes back as the backup": lambda: _back(prover, killed, start_again),
    }
    seen = []
    for verdict in verdicts(after):
        progress(f"{'ok' if verdict.ok else 'NOT'}  {verdict.name}")
        seen.append(verdict)
    return Failover(killed=killed, outcomes=outcomes, verdicts=seen)


def _flow(prover: VpcProver, kind: Kind) -> Mapping[str, object]:
    words = [kind.kind, kind.address, str(kind.port), f"{_SECONDS:g}", f"{_INTERVAL:g}"]
    words += [kind.source] if kind.source else []
    patience = _SECONDS + flow_script.GRACE + _PATIENCE
    if kind.place in (INTERNET, LAPTOP, OFFICE):
        argv = [sys.executable, str(Path(flow_script.__file__)), *words]
        result = namespace.run(full_name(prover.cloud, kind.place), argv, timeout=patience)
    else:
        text = Path(flow_script.__file__).read_text()
        result = prover.runtime.run(kind.place, ["python3", "-", *words], stdin=text, timeout=patience)
    if result.returncode:
        return {"messages": [], "broken": result.stderr.strip()[-300:]}
    said: Mapping[str, object] = json.loads(result.stdout)
    return said


def judged(kind: Kind, said: Mapping[str, object]) -> Outcome:
    """From what a flow printed; see `flow`."""
    messages = said["messages"]
    assert isinstance(messages, list)  # noqa: S101
    answers = sorted(at for _, at in messages if at is not None)
    begun = min((sent for sent, _ in messages), default=0.0)
    pauses = (later - sooner for sooner, later in zip([begun, *answers], answers, strict=False))
    return Outcome(
        kind=kind,
        sent=len(messages),
        answered=len(answers),
        late=sum(1 for sent, at in messages if at is not None and at - sent > _LATE_SECONDS),
        silence=max(pauses, default=0.0),
        broken=str(said["broken"]),
    )


def _words(outcome: Outcome) -> str:
    if outcome.broken:
        return outcome.broken
    return f"{outcome.answered} of {outcome.sent} answered, {outcome.silence:.2f} s of silence"


def _cut_the_power(prover: VpcProver, name: str) -> None:
    """Its cables first: the kernel that a container shares with all others would still answer for it."""
    full = full_name(prover.cloud, name)
    (router,) = (each for each in ROUTERS if each.name == name)
    switch = Switch(prover.cloud)
    lines = "\n".join(f"link set {port_name(full, mac)} down" for mac in router.cards.values())
    namespace.run(switch.namespace, ["ip", "-batch", "-"], stdin=lines, check=True)
    prover.runtime.kill(name)


def _until_primary(prover: VpcProver, heir: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while prover.state(heir) != "primary" and time.monotonic() < deadline:
        time.sleep(0.02)


def _same(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    expect(before == after, f"{before} before, {after} after")
    return f"{len(after)} clients, the same servers as before"


def _grown(before: int, after: int) -> str:
    expect(after >= before, f"{before} bytes before, {after} after")
    return f"{before:,} bytes before, {after:,} after"


def _back(prover: VpcProver, killed: str, start_again: Callable[[str], None]) -> str:
    start_again(killed)
    primary, backup = prover.routers()
    expect(backup == killed, f"{primary} is the primary")
    return f"{primary} goes on as the primary"
