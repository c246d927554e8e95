"""Every template parses, and a service passes every name that it uses."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import meta

from appliance.template import _environment
from tests.examples import ROOT

DIRECTORY = ROOT / "templates"
TEMPLATES = sorted(str(path.relative_to(DIRECTORY)) for path in DIRECTORY.rglob("*.j2"))


def passed() -> Iterator[tuple[str, set[str]]]:
    """Template and keyword arguments of each call of `render` in our packages."""
    for package in ("appliance", "router"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "render":
                    continue
                if node.args and isinstance(node.args[0], ast.Constant):
                    yield str(node.args[0].value), {word.arg or "" for word in node.keywords}


def names_in(name: str) -> set[str]:
    """What a template uses, and what it includes does."""
    environment = _environment()
    tree = environment.parse((DIRECTORY / name).read_text())
    used = meta.find_undeclared_variables(tree) - environment.globals.keys()
    return used.union(*map(names_in, included(name)))


def included(name: str) -> list[str]:
    tree = _environment().parse((DIRECTORY / name).read_text())
    return [other for other in meta.find_referenced_templates(tree) if other is not None]


@pytest.mark.parametrize("name", TEMPLATES)
def test_names_are_passed(name: str) -> None:
    calls = [names for template, names in passed() if template == name]
    if not calls:
        assert any(name in included(other) for other in TEMPLATES), "no service renders it"
    for names in calls:
        assert names_in(name) == names


@pytest.mark.parametrize("name", TEMPLATES)
def test_layout(name: str) -> None:
    text = (DIRECTORY / name).read_text()
    assert "\t" not in text
    assert not re.search(r" +$", text, re.MULTILINE)
    assert text.endswith("\n") and not text.endswith("\n\n")


def test_daemons_have_directories() -> None:
    assert {len(Path(name).parts) for name in TEMPLATES} == {2}
