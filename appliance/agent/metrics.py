"""Metrics in Prometheus' text format 0.0.4: base units, `_total` for what only grows."""

import resource
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from appliance.agent import load_balancing, machine, next_hops
from appliance.agent.controller import Controller
from appliance.agent.health import Result
from appliance.agent.usage import Totals
from appliance.agent.vpn.session import Session, byte_samples, up_samples

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATES = ("empty", "converged", "unconfirmed", "drifted", "degraded")
_KIB = 1024


def render(
    controller: Controller,
    checks: list[Result],
    usage: Totals,
    *,
    tunnels: Mapping[str, Any] = {},
    sessions: Sequence[Session] = (),
    pair: Mapping[str, Any] | None = None,
) -> str:
    """`tunnels` of WireGuard, `sessions` of IPsec and `pair` as the API tells them."""
    return "".join(
        [
            *_lines(controller, checks, usage),
            *_wireguard(tunnels),
            *_vpn(sessions),
            *_redundancy(pair),
        ]
    )


def _wireguard(tunnels: Mapping[str, Any]) -> Iterator[str]:
    peers = [
        ({"tunnel": link, "peer": name}, peer)
        for link, tunnel in sorted(tunnels.items())
        for name, peer in sorted(tunnel["peers"].items())
    ]
    connected = [(labels, peer["connected"]) for labels, peer in peers]
    yield from _metric("vpn_peer_connected", "gauge", "1 for a peer with a session", connected)
    handshakes = [(labels, peer["latest_handshake"] or 0) for labels, peer in peers]
    text = "When the peer's latest handshake was, in seconds since the epoch; 0: never"
    yield from _metric("vpn_peer_latest_handshake_seconds", "gauge", text, handshakes)


def _vpn(sessions: Sequence[Session]) -> Iterator[str]:
    yield from _metric("vpn_up", "gauge", "1 for a tunnel or user that is connected", up_samples(sessions))
    samples = list(byte_samples(sessions))
    yield from _metric("vpn_bytes_total", "counter", "Traffic of a tunnel or user in bytes", samples)


def _lines(controller: Controller, checks: list[Result], usage: Totals) -> Iterator[str]:
    counts = controller.counts
    generation = controller.running.generation
    yield from _metric("generation", "gauge", "Generation of the running document", [({}, generation)])
    states = [({"state": state}, float(controller.state == state)) for state in _STATES]
    yield from _metric("state", "gauge", "1 for the state the appliance is in", states)
    warned = len(controller.warnings())
    text = "What is lapsed or obsolete in the running document"
    yield from _metric("warnings", "gauge", text, [({}, warned)])
    results = [
        ({"result": "applied"}, counts.applied),
        ({"result": "refused"}, counts.refused),
        ({"result": "failed"}, counts.failed),
    ]
    yield from _metric("pushes_total", "counter", "Documents pushed, by what became of them", results)
    yield from _metric(
        "drift_healed_total", "counter", "Times drift was found and healed", [({}, counts.healed)]
    )
    yield from _metric(
        "last_apply_seconds", "gauge", "How long the last apply took", [({}, counts.last_apply_seconds)]
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB
    yield from _metric("agent_peak_memory_bytes", "gauge", "Most memory the agent ever had", [({}, memory)])
    for name, text, value in machine.gauges(controller.host.persistent):
        yield from _metric(f"machine_{name}", "gauge", text, [({}, value)])
    yield from _metric(
        "health", "gauge", "1 if the check last went well", [({"check": c.name}, c.ok) for c in checks]
    )
    seconds = [({"check": check.name}, check.seconds) for check in checks]
    yield from _metric("health_seconds", "gauge", "How long the check took", seconds)
    for unit in ("bytes", "packets"):
        samples = []
        for name, directions in sorted(usage.items()):
            kind, _, of = name.partition("-")
            for direction, values in sorted(directions.items()):
                if unit in values:
                    samples.append(({"kind": kind, "of": of, "direction": direction}, values[unit]))
        yield from _metric(f"traffic_{unit}_total", "counter", f"Traffic in {unit}", samples)
    hops = next_hops.samples(next_hops.told(controller.wanted, controller.host))
    yield from _metric("next_hop_up", "gauge", "1 for a watched next hop that answers", hops)
    for metric in load_balancing.metrics(controller.wanted):
        yield from _metric(*metric)


def _redundancy(pair: Mapping[str, Any] | None) -> Iterator[str]:
    if pair is None:
        return
    now = pair["state"]
    states = [({"state": state}, float(now == state)) for state in ("primary", "backup", "fault", "unknown")]
    yield from _metric("redundancy_state", "gauge", "1 for the state of this router in its pair", states)
    if "changes" not in pair:
        return
    for name, kind, text, value in (
        ("changes_total", "counter", "Changes of that state", pair["changes"]),
        ("faults", "gauge", "What is wrong with this router now", len(pair["faults"])),
        ("peer_heard", "gauge", "1 if the other router is heard", pair["peer"]["heard"]),
        ("split_brain", "gauge", "1 if both routers are primary", pair["split_brain"]),
    ):
        yield from _metric(f"redundancy_{name}", kind, text, [({}, float(value))])


def _metric(
    name: str, kind: str, text: str, samples: Sequence[tuple[dict[str, str], float]]
) -> Iterator[str]:
    if samples:
        yield f"# HELP sysvm_{name} {text}\n# TYPE sysvm_{name} {kind}\n"
    for labels, value in samples:
        inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        shown = int(value) if value == int(value) else value
        yield f"sysvm_{name}{{{inner}}} {shown}\n" if inner else f"sysvm_{name} {shown}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
