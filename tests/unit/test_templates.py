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


def included(name: str) -> set[str]:
    tree = _environment().parse((DIRECTORY / name).read_text())
    return {found for found in meta.find_referenced_templates(tree) if found}


def undeclared(name: str) -> set[str]:
    environment = _environment()
    tree = environment.parse((DIRECTORY / name).read_text())
    return meta.find_undeclared_variables(tree) - environment.globals.keys()


@pytest.mark.parametrize("name", TEMPLATES)
def test_names_are_passed(name: str) -> None:
    if any(name in included(other) for other in TEMPLATES):
        return
    used = undeclared(name).union(*map(undeclared, included(name)))
    calls = [names for template, names in passed() if template == name]
    assert calls, "no service renders it"
    for names in calls:
        assert used == names


@pytest.mark.parametrize("name", TEMPLATES)
def test_layout(name: str) -> None:
    text = (DIRECTORY / name).read_text()
    assert "\t" not in text
    assert not re.search(r" +$", text, re.MULTILINE)
    assert text.endswith("\n") and not text.endswith("\n\n")


def test_daemons_have_directories() -> None:
    assert {len(Path(name).parts) for name in TEMPLATES} == {2}
