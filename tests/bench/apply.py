"""From a document that is pushed to a router that has applied and verified it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from tests.bench import documents, effect
from tests.bench.benchmark import Say, milliseconds, table
from tests.bench.forks import Forks
from tests.bench.inside import inside
from tests.bench.lab import FIRST_GUEST, GUEST, GUEST_ADDRESS, PUBLIC, Lab, laboratory

TITLE = "Apply: so many items at once, and one more"
SIZES = (10, 100, 1_000, 10_000)
_PUTS = 3
_PATCHES = 11


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    kind: str
    count: int
    put: float
    """Seconds until the answer, as the client sees it."""
    report: float
    """Of those, what the agent took to plan, apply and verify."""
    put_processes: int
    patch: float
    patch_report: float
    patch_processes: int
    effects: dict[str, float]
    singles: dict[str, float]
    """Of a router that has all kinds: seconds of a PATCH of one item, by kind."""


def run(say: Say) -> str:
    rows = []
    with laboratory() as lab, _listener(lab):
        lab.put(documents.empty())
        for kind in (*documents.KINDS, documents.ALL):
            for count in SIZES:
                say(f"{count:,} {kind}")
                rows.append(_measure(lab, kind, count))
    head = [
        "items",
        "PUT ms",
        "of it applying",
        "processes",
        "one more, PATCH ms",
        "of it applying",
        "processes",
    ]
    parts = [
        "A whole document is PUT to a router that runs an empty one, over HTTPS from the management "
        f"network; then it is PATCHed with one item more. Medians of {_PUTS} and of {_PATCHES}; "
        "applied and verified when the answer comes. Processes are those that the whole router starts: all "
        "of its control group.",
        table(
            head,
            [
                [
                    f"{row.count:,} {row.kind}",
                    milliseconds(row.put),
                    milliseconds(row.report),
                    row.put_processes,
                    milliseconds(row.patch),
                    milliseconds(row.patch_report),
                    row.patch_processes,
                ]
                for row in rows
            ],
        ),
        "One more of one kind beside so many of all four, PATCH ms:",
        table(
            ["beside", *documents.KINDS],
            [
                [f"{row.count:,} of each", *map(milliseconds, row.singles.values())]
                for row in rows
                if row.singles
            ],
        ),
        "One more of all four in one PATCH beside so many of each, from sending it until it has its effect "
        "(three clients ask for that without a pause meanwhile):",
        table(
            ["beside", *next(row.effects for row in rows if row.effects)],
            [
                [f"{row.count:,} of each", *map(milliseconds, row.effects.values())]
                for row in rows
                if row.effects
            ],
        ),
    ]
    return "\n\n".join(parts)


def _measure(lab: Lab, kind: str, count: int) -> Row:
    document = documents.filled(count, kind)
    puts = []
    for _ in range(_PUTS):
        lab.put(documents.empty())
        with Forks(lab.group) as put_forks:
            puts.append(lab.put(document))
    patches, effects = [], []
    for number in range(FIRST_GUEST, FIRST_GUEST + _PATCHES):
        patch = documents.one_more(number, kind, target=GUEST_ADDRESS)
        with Forks(lab.group) as patch_forks:
            watches = _watches(lab, number) if kind == documents.ALL else {}
            patches.append(lab.patch(patch))
            effects.append({what: watch.wait() for what, watch in watches.items()})
    singles: dict[str, float] = {}
    for place, single in enumerate(documents.KINDS if kind == documents.ALL else (), start=1):
        first = FIRST_GUEST + place * _PATCHES
        numbers = range(first, first + _PATCHES)
        one_by_one = [
            lab.patch(documents.one_more(number, single, target=GUEST_ADDRESS)) for number in numbers
        ]
        singles[single] = median(seconds for seconds, _ in one_by_one)
    return Row(
        kind=kind,
        count=count,
        put=median(seconds for seconds, _ in puts),
        report=median(report.seconds or 0 for _, report in puts),
        put_processes=put_forks.count,
        patch=median(seconds for seconds, _ in patches),
        patch_report=median(report.seconds or 0 for _, report in patches),
        patch_processes=patch_forks.count,
        effects={what: median(each[what] for each in effects) for what in effects[0]},
        singles=singles,
    )


def _watches(lab: Lab, number: int) -> dict[str, effect.Watch]:
    address = documents.guest_address(number)
    port = documents.FIRST_PORT + number
    probes = {
        "port forward connects ms": (lab.namespace(PUBLIC), effect.connects(documents.PUBLIC_ADDRESS, port)),
        "name resolves ms": (
            lab.namespace(GUEST),
            effect.resolves(f"vm{number}.{documents.DOMAIN}", address),
        ),
        "metadata is served ms": (lab.guest(number), effect.is_told(f"i-{number}")),
    }
    return {what: effect.Watch(probe, namespace=end) for what, (end, probe) in probes.items()}


@contextmanager
def _listener(lab: Lab) -> Iterator[None]:
    """What the port forwards lead to."""
    with inside(lab.namespace(GUEST)):
        server = socket.create_server((GUEST_ADDRESS, 80), backlog=1024)
    with server:
        yield
