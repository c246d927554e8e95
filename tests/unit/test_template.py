"""Templates refuse what they don't know, and what would leave its line."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from appliance.template import _environment, render


def rendered(source: str, **context: object) -> str:
    return _environment().from_string(source).render(context)


def test_an_undefined_name_is_an_error() -> None:
    for source in (
        "{{ absent }}",
        "{{ one.absent }}",
        "{% if absent %}{% endif %}",
        "{% for x in absent %}{% endfor %}",
    ):
        with pytest.raises(UndefinedError):
            rendered(source, one={})
    with pytest.raises(UndefinedError):
        render("dnsmasq/dnsmasq.conf.j2")


@pytest.mark.parametrize("character", ["\n", "\r", "\0", "\t", "\x1b", "\x7f"])
def test_no_value_leaves_its_line(character: str) -> None:
    with pytest.raises(ValueError):
        rendered("{{ value }}", value=f"a{character}b")


def test_values_are_not_templates_and_not_escaped() -> None:
    assert rendered("a{{ value }}b", value="{{ 7 * 7 }}<&>'") == "a{{ 7 * 7 }}<&>'b"


def test_lines() -> None:
    assert rendered("a\n  {% if True %}\nb\n  {% endif %}\nc\n") == "a\nb\nc\n"


def test_qualified() -> None:
    assert rendered("{{ 'web' | qualified('a.example') }}") == "web.a.example"
    assert rendered("{{ 'web.b' | qualified('a.example') }}") == "web.b"


def test_templates_are_package_data() -> None:
    import templates

    assert list(Path(templates.__path__[0]).glob("*/*.j2"))
