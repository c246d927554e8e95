"""Names per second, asked through our router and of a bare dnsmasq."""

import re
import tempfile
from pathlib import Path

from appliance.runtime import namespace
from tests.bench import bare, documents
from tests.bench.benchmark import Say, table
from tests.bench.lab import GUEST, Lab, laboratory

TITLE = "DNS"
COUNT = 10_000
_SECONDS = 5
_ROUNDS = 3


def run(say: Say) -> str:
    with laboratory() as lab, bare.dnsmasq(lab, files=bare.entries(COUNT)):
        lab.put(documents.filled(COUNT))
        best: dict[str, tuple[float, str, str]] = {}
        servers = {"our router": documents.GATEWAY, "bare dnsmasq": bare.ADDRESS}
        for number in range(_ROUNDS):
            for what, address in servers.items():
                say(f"{what}, {number + 1} of {_ROUNDS}")
                best[what] = max(best.get(what, (0.0, "", "")), _measure(lab, address))
    base = best["bare dnsmasq"][0]
    rows = [
        [what, f"{rate:,.0f}", late, lost, f"{rate / base:.0%}"] for what, (rate, late, lost) in best.items()
    ]
    text = (
        f"dnsperf from a guest, 50 clients, {COUNT:,} names of guests in turn; the router has {COUNT:,} "
        f"port forwards, firewall rules and guests beside. Best of {_ROUNDS} rounds of {_SECONDS} s in turn."
    )
    return "\n\n".join([text, table(["server", "queries/s", "mean ms", "lost", "of the bare one"], rows)])


def _measure(lab: Lab, server: str) -> tuple[float, str, str]:
    with tempfile.NamedTemporaryFile("w", suffix=".names") as names:
        names.writelines(f"vm{number}.{documents.DOMAIN} A\n" for number in range(COUNT))
        names.flush()
        output = namespace.run(
            lab.namespace(GUEST),
            ["dnsperf", "-s", server, "-d", str(Path(names.name)), "-c", "50", "-l", str(_SECONDS)],
            check=True,
            timeout=_SECONDS + 30,
        ).stdout
    rate = float(_figure(output, r"Queries per second:\s+([0-9.]+)"))
    late = float(_figure(output, r"Average Latency \(s\):\s+([0-9.]+)"))
    return rate, f"{late * 1000:.2f}", _figure(output, r"Queries lost:\s+\d+ \(([0-9.]+%)\)")


def _figure(output: str, pattern: str) -> str:
    found = re.search(pattern, output)
    if found is None:
        raise ValueError(f"dnsperf said nothing like {pattern}:\n{output}")
    return found[1]
