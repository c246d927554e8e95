"""docs/features.md names a test for every capability: one that there is."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.examples import ROOT

TABLES = (ROOT / "docs" / "features.md").read_text().split("\n## ")[1:]
ROWS = [
    (table.partition("\n")[0], row.strip("|").split("|"))
    for table in TABLES
    for row in table.splitlines()[3:]
    if row.startswith("|") and not row.startswith("|---") and "| test |" not in row
]
NAMED = re.compile(r"`([\w/]+\.py)(?:::(\w+))?`(?:: ([^`;|]+))?|`(test_\w+)`")
"""A file, or one of its tests; behind a colon words of tests' names, divided by commas; or a test."""


@cache
def names_of(path: Path) -> frozenset[str]:
    return frozenset(
        node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)
    )


@cache
def files(name: str) -> tuple[Path, ...]:
    """Those that a row may mean."""
    return tuple(path for path in (ROOT / "tests").rglob("*.py") if str(path).endswith(f"/{name}"))


@pytest.mark.parametrize(("table", "cells"), ROWS, ids=lambda value: value[0][:60] if value else "")
def test_it_names_tests_that_there_are(table: str, cells: list[str]) -> None:
    named = NAMED.findall(cells[-1])
    assert named, "no test at all"
    for file, test, words, alone in named:
        if alone:
            assert any(alone in names_of(path) for path in (ROOT / "tests").rglob("test_*.py")), alone
            continue
        found = files(file)
        assert found, file
        names = frozenset[str]().union(*map(names_of, found))
        assert not test or test in names, test
        for phrase in filter(None, map(str.strip, words.split(","))):
            assert any(phrase.replace(" ", "_").lower() in name.lower() for name in names), (file, phrase)


def test_all_rows_are_looked_at() -> None:
    assert {table for table, _ in ROWS} >= {"VPC", "Load balancing", "WireGuard", "Redundancy", "Traffic"}
    assert len(ROWS) > 80
