"""A then B equals B from empty: rulesets in the kernel, files and records on disk, of random documents."""

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from appliance.engine.host import Host
from appliance.engine.plan import make
from appliance.engine.transaction import converge
from appliance.resources import Counter, File, Records, Resource, Ruleset
from appliance.roles import resources
from tests.documents import documents
from tests.examples import read
from tests.integration.engine.conftest import Run
from tests.integration.engine.test_ruleset import listed


def state(value: Any, host: Host) -> list[Resource]:
    """What of a document's machine state needs no card and no service manager."""
    found: list[Resource] = []
    for item in resources(read(value)):
        match item:
            case File():
                found.append(File(path=moved(item.path, host), content=item.content, check=item.check))
            case Records():
                found.append(Records(path=moved(item.path, host), records=item.records))
            case Ruleset() | Counter():
                found.append(item)
    return found


def moved(path: str, host: Host) -> str:
    return path.replace("/run/sysvm", str(host.generated))


def files(host: Host) -> dict[str, list[str]]:
    """Lines by file, in any order; `added` and `base` are one set of records."""
    found: dict[str, list[str]] = {}
    for path in host.generated.rglob("*"):
        if path.is_file() and host.state not in path.parents:
            place = path.parent.parent if path.parent.name == "added" else path.parent
            name = str(place / "records") if (place / "base").exists() else str(path)
            found.setdefault(name, []).extend(path.read_text().splitlines())
    return {name: sorted(lines) for name, lines in found.items()}


def canonical(run: Run) -> tuple[list[str], list[str]]:
    """A chain's rules in their order; all else in any, for tables, chains and counters are listed as they
    came."""
    rules = [item["rule"] for item in listed(run) if "rule" in item]
    others = [repr(item) for item in listed(run) if "rule" not in item]
    return sorted(others), [
        repr(rule) for rule in sorted(rules, key=lambda rule: (rule["table"], rule["chain"]))
    ]


# Shrinking what takes the kernel a second each would take minutes.
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(documents(), min_size=2, max_size=3))
def test_the_way_there_leaves_no_trace(host: Host, run: Run, tmp_path: Path, values: list[Any]) -> None:
    for value in values:
        converge(state(value, host), host)
        assert make(state(value, host), host, fresh=True).changes == (), "the second plan is empty"
    reached = canonical(run), files(host)
    run("nft", "flush", "ruleset")
    empty = Host(generated=tmp_path / "empty" / "run", persistent=host.persistent)
    empty.generated.mkdir(parents=True, exist_ok=True)
    converge([], empty)
    converge(state(values[-1], empty), empty)
    direct = {
        name.replace(str(empty.generated), str(host.generated)): lines
        for name, lines in files(empty).items()
    }
    # Paths stand in files, too.
    assert (canonical(run), relative(direct, empty)) == (reached[0], relative(reached[1], host))
    run("nft", "flush", "ruleset")
    host.seen.clear()


def relative(found: dict[str, list[str]], host: Host) -> dict[str, list[str]]:
    return {name: [line.replace(str(host.generated), "") for line in lines] for name, lines in found.items()}
