"""Every template parses, and a service passes every name that it uses."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from jinja2 import meta, nodes

from appliance.template import _environment
from tests.examples import ROOT

DIRECTORY = ROOT / "templates"
TEMPLATES = sorted(str(path.relative_to(DIRECTORY)) for path in DIRECTORY.rglob("*.j2"))


@cache
def passed() -> list[tuple[str, set[str]]]:
    return list(_passed())


def _passed() -> Iterator[tuple[str, set[str]]]:
    """Template and keyword arguments of each call of `render` in our packages."""
    for package in ("appliance", "consoleproxy", "router", "secstorage"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "render":
                    continue
                if node.args and isinstance(node.args[0], ast.Constant):
                    yield str(node.args[0].value), {word.arg or "" for word in node.keywords}


@cache
def included(name: str) -> set[str]:
    tree = _environment().parse((DIRECTORY / name).read_text())
    return {part for part in meta.find_referenced_templates(tree) if part is not None}


def names_of(name: str) -> set[str]:
    """What a template and those that it includes use and don't set."""
    tree = _environment().parse((DIRECTORY / name).read_text())
    own = {target.name for target in tree.find_all(nodes.Name) if target.ctx == "store"}
    own |= {macro.name for macro in tree.find_all(nodes.Macro)}
    return (meta.find_undeclared_variables(tree).union(*map(names_of, included(name)))) - own


@pytest.mark.parametrize("name", TEMPLATES)
def test_names_are_passed(name: str) -> None:
    environment = _environment()
    used = names_of(name) - environment.globals.keys()
    if name in {part for template in TEMPLATES for part in included(template)}:
        return
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
