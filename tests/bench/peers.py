"""The same rules in other ways, in the same kernel with the same programs, next to our router."""

import signal
import time
from statistics import median

from tests.bench import bare, documents, effect
from tests.bench.benchmark import Say, milliseconds, table, times
from tests.bench.lab import FIRST_GUEST, GUEST, Lab, laboratory

TITLE = "Peers: the same by other means"
_ROUNDS = 3
_MAP = """table inet peer {
    map forward { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
}
"""


def run(say: Say) -> str:
    with laboratory() as lab:
        ours = {count: _ours(lab, count) for count in (100, 1_000, 10_000)}
        one_more = _one_more(lab)
        rows = []
        for what, count, script in _ways():
            say(f"{what}, {count:,}")
            taken = median(_in_router(lab, script) for _ in range(_ROUNDS if count < 1_000 else 1))
            rows.append(
                [
                    what,
                    f"{count:,}",
                    milliseconds(taken),
                    milliseconds(ours[count]),
                    times(taken, ours[count]),
                ]
            )
        names = _names(lab, say)
    return "\n\n".join(
        [
            "So many port forwards, from an empty table. Ours is a whole document over HTTPS: "
            "authenticated, parsed, validated, applied, verified and stored. The others only load: "
            "the time is that of the commands in the router, in a network namespace of their own.",
            table(["means", "port forwards", "ms", "our PUT ms", "they take"], rows),
            "One more name beside 10,000 hosts, from the wish until it resolves:",
            table(
                ["means", "ms"],
                [
                    ["bare dnsmasq: write its files anew, SIGHUP", milliseconds(names)],
                    ["our PATCH", milliseconds(one_more)],
                ],
            ),
        ]
    )


def _ours(lab: Lab, count: int) -> float:
    taken = []
    for _ in range(_ROUNDS):
        lab.put(documents.empty())
        taken.append(lab.put(documents.filled(count, "port forwards"))[0])
    return median(taken)


def _one_more(lab: Lab) -> float:
    lab.put(documents.filled(10_000, "reservations"))
    taken = []
    for number in range(FIRST_GUEST, FIRST_GUEST + 7):
        name = f"vm{number}.{documents.DOMAIN}"
        watch = effect.Watch(
            effect.resolves(name, documents.guest_address(number)), namespace=lab.namespace(GUEST)
        )
        lab.patch(documents.one_more(number, "reservations"))
        taken.append(watch.wait())
    return median(taken)


def _names(lab: Lab, say: Say) -> float:
    taken = []
    with bare.dnsmasq(lab, files=bare.entries(10_000)) as other:
        for number in range(10_001, 10_008):
            say(f"SIGHUP, {number}")
            files = bare.entries(number)
            name = f"vm{number - 1}.{documents.DOMAIN}"
            probe = effect.resolves(name, documents.guest_address(number - 1), server=bare.ADDRESS)
            watch = effect.Watch(probe, namespace=lab.namespace(GUEST))
            for file, content in files.items():
                (other.files / file).write_text(content)
            other.process.send_signal(signal.SIGHUP)
            taken.append(watch.wait())
            time.sleep(0.2)
    return median(taken)


def _ways() -> list[tuple[str, int, str]]:
    ways = []
    for variant in ("legacy", "nft"):
        for count in (100, 1_000):
            calls = "".join(f"iptables-{variant} -w -t nat {rule}\n" for rule in _rules(count))
            ways.append((f"a process per rule: iptables-{variant}", count, calls))
    for variant in ("legacy", "nft"):
        for count in (1_000, 10_000):
            rules = "\n".join(["*nat", *_rules(count), "COMMIT", ""])
            ways.append(
                (f"iptables-{variant}-restore", count, f"iptables-{variant}-restore <<'END'\n{rules}END\n")
            )
    for count in (1_000, 10_000):
        elements = ", ".join(
            f"{documents.PUBLIC_ADDRESS} . 6 . {documents.FIRST_PORT + n} "
            f": {documents.guest_address(n)} . 80"
            for n in range(count)
        )
        text = f"{_MAP}add element inet peer forward {{ {elements} }}\n"
        ways.append(("nft -f with one map", count, f"nft -f - <<'END'\n{text}END\n"))
    return ways


def _rules(count: int) -> list[str]:
    return [
        f"-A PREROUTING -d {documents.PUBLIC_ADDRESS} -p tcp --dport {documents.FIRST_PORT + number} "
        f"-j DNAT --to-destination {documents.guest_address(number)}:80"
        for number in range(count)
    ]


def _in_router(lab: Lab, script: str) -> float:
    """Seconds that a shell script takes in the router, in a network namespace of its own."""
    timed = f"date +%s.%N\n{script}date +%s.%N\n"
    place = "/run/bench-script"
    lab.runtime.run(documents.NAME, ["sh", "-c", f"cat >{place}"], stdin=timed, check=True)
    done = lab.runtime.run(documents.NAME, ["unshare", "--net", "sh", "-e", place], timeout=300, check=True)
    first, last = done.stdout.split()
    return float(last) - float(first)
