"""Files and records on disk: what a crash left behind is found, what grows doesn't rewrite what is there."""

from pathlib import Path

import pytest

from appliance.engine.host import Host
from appliance.engine.plan import make
from appliance.engine.records import MOST_ADDED
from appliance.engine.transaction import converge
from appliance.resources import File, Records, Resource


def records(host: Host, *numbers: int, mode: int = 0o644) -> Records:
    lines = {str(number): f"line {number}" for number in numbers}
    return Records(path=str(host.generated / "some" / "records"), records=lines, mode=mode)


def lines(host: Host) -> tuple[list[str], list[str]]:
    """Of the base, and of what was added since."""
    path = host.generated / "some" / "records"
    added = [entry.read_text() for entry in (path / "added").iterdir() if entry.name[0] != "."]
    return (path / "base").read_text().splitlines(), sorted(text.rstrip("\n") for text in added)


def steps(host: Host, *wanted: Resource, fresh: bool = True) -> int:
    return len(make(wanted, host, fresh=fresh).changes)


def test_one_more_is_added_beside_the_base(host: Host) -> None:
    converge([records(host, 1, 2)], host)
    base = (host.generated / "some" / "records" / "base").stat()
    plan = make([records(host, 1, 2, 3)], host)
    assert [change.writes for change in plan.changes] == [()], "no unit has to load it"
    converge([records(host, 1, 2, 3)], host)
    assert lines(host) == (["line 1", "line 2"], ["line 3"])
    assert (host.generated / "some" / "records" / "base").stat().st_ino == base.st_ino
    assert steps(host, records(host, 3, 2, 1)) == 0, "the order means nothing"


def test_too_many_are_folded(host: Host) -> None:
    converge([records(host, 0)], host)
    for number in range(1, MOST_ADDED + 1):
        converge([records(host, *range(number + 1))], host)
    assert len(lines(host)[1]) == MOST_ADDED
    plan = make([records(host, *range(MOST_ADDED + 2))], host)
    assert plan.changes[0].writes == (f"{host.generated}/some/records/base",)
    converge([records(host, *range(MOST_ADDED + 2))], host)
    assert len(lines(host)[0]) == MOST_ADDED + 2 and lines(host)[1] == []


@pytest.mark.parametrize("rest", [(1,), (2,), (1, 4), ()])
def test_what_changed_or_went_writes_the_base(host: Host, rest: tuple[int, ...]) -> None:
    converge([records(host, 1, 2)], host)
    converge([records(host, 1, 2, 3)], host)
    converge([records(host, *rest)], host)
    assert lines(host) == ([f"line {number}" for number in rest], [])
    assert steps(host, records(host, *rest)) == 0


def test_a_crash_before_a_rename(host: Host) -> None:
    converge([records(host, 1, 2)], host)
    path = host.generated / "some" / "records"
    (path / "added" / ".half").write_text("line")
    (path / ".base.half").write_text("line 1\n")
    assert steps(host, records(host, 1, 2)) == 1, "what lies beside the base is nobody's"
    converge([records(host, 1, 2)], host)
    assert not (path / ".base.half").exists()
    converge([records(host, 1)], host)
    assert list((path / "added").iterdir()) == []


def test_a_crash_between_the_base_and_the_emptying_of_added(host: Host) -> None:
    converge([records(host, 1)], host)
    converge([records(host, 1, 2)], host)
    (left,) = (host.generated / "some" / "records" / "added").iterdir()
    text = left.read_text()
    converge([records(host, 1, 2, *range(3, 3 + MOST_ADDED))], host)
    left.write_text(text)
    again = Host(generated=host.generated, persistent=host.persistent)
    wanted = records(again, 1, 2, *range(3, 3 + MOST_ADDED))
    converge([wanted], again)
    assert lines(again)[1] == []
    left.write_text("line 999\n")
    converge([wanted], again)
    assert lines(again)[1] == [], "an added record that nobody wants goes, too"


@pytest.mark.parametrize("content", ["", "line 1\n", "line 1\nline 2", "line 1\nline 2\n\n", "else\n"])
def test_a_base_that_others_wrote_is_healed(host: Host, content: str) -> None:
    wanted = records(host, 1, 2, 3)
    converge([wanted], host)
    base = host.generated / "some" / "records" / "base"
    base.write_text(content)
    assert steps(host, wanted, fresh=False) == 1
    converge([wanted], host)
    in_base, added = lines(host)
    assert in_base + added == ["line 1", "line 2", "line 3"]


def test_permissions(host: Host) -> None:
    converge([records(host, 1, mode=0o640)], host)
    path = host.generated / "some" / "records"
    assert [(path / name).stat().st_mode & 0o777 for name in (".", "added", "base")] == [0o750, 0o750, 0o640]
    (path / "base").chmod(0o666)
    converge([records(host, 1, mode=0o640)], host)
    assert (path / "base").stat().st_mode & 0o777 == 0o640


def test_records_that_nobody_wants(host: Host) -> None:
    converge([records(host, 1)], host)
    converge([], host)
    assert not (host.generated / "some" / "records").exists()


def test_lines_end_at_line_feeds_only(host: Host) -> None:
    odd = Records(path=str(host.generated / "odd"), records={"a": "one\u2028\x85two"})
    converge([odd], host)
    assert steps(host, odd) == 0


def test_files(host: Host) -> None:
    def file(content: str, mode: int = 0o644) -> File:
        return File(path=str(host.generated / "some" / "file"), content=content, mode=mode)

    path = Path(file("").path)
    for wanted in (file("a\n"), file("b\n"), file("b\n", 0o600)):
        assert len(converge([wanted], host).plan.changes) == 1
        assert (path.read_text(), path.stat().st_mode & 0o777) == (wanted.content, wanted.mode)
        assert steps(host, wanted) == 0
    path.write_text("tampered")
    (path.parent / "stray").write_text("")
    assert steps(host, file("b\n")) == 2
    converge([file("b\n")], host)
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
    converge([], host)
    assert list(path.parent.iterdir()) == []
