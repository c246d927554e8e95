"""Every template parses, and a service passes every name that it uses."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Environment, meta, nodes

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


def parsed(environment: Environment, name: str) -> nodes.Template:
    return environment.parse((DIRECTORY / name).read_text())


def names_used(environment: Environment, name: str) -> set[str]:
    """By a template and those that it includes, which see what it sets."""
    tree = parsed(environment, name)
    used = meta.find_undeclared_variables(tree) - environment.globals.keys()
    set_here = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    for included in meta.find_referenced_templates(tree):
        assert included is not None
        used |= names_used(environment, included) - set_here
    return used


INCLUDED = {
    included
    for name in TEMPLATES
    for included in meta.find_referenced_templates(parsed(_environment(), name))
}


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name not in INCLUDED])
def test_names_are_passed(name: str) -> None:
    used = names_used(_environment(), name)
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
