"""No text of a document can become more than it is: another line, directive, option or element."""

import json
import re
from functools import cache
from typing import Any

import pytest

from appliance.agent.seal import Sealer
from appliance.engine import load_balancers
from appliance.model import RefusedError, merge_patch
from appliance.resources import File, LoadBalancers, Password, Records, Resource, Ruleset
from appliance.roles import resources
from router.document import RouterDocument
from router.role import SEALED
from tests.document_place import Place, one_of_each_kind, text_kinds
from tests.examples import example, read

EVERYTHING = example("everything")
PLACES = one_of_each_kind(EVERYTHING)
NASTY = {
    "newline": "\n", "carriage-return": "\r", "nul": "\0", "tab": "\t", "delete": "\x7f",
    "next-line": "\x85", "line-separator": "\u2028", "surrogate": "\ud800", "quote": '"', "apostrophe": "'",
    "semicolon": ";", "brace": "}", "template": "{{ 7 }}", "statement": "{% raw %}", "comma": ",x",
    "space": " x", "hash": "#x", "equals": "=x", "slash": "/x", "zone": "%\nlog-queries", "scope": "%;x",
    "backslash": "\\", "long": "a" * 5000,
    "letters": "\u00e9\u4e2d\U0001f600", "digits": "\u0661", "dot": ".", "tilde": "~x",
}  # fmt: skip
PEM = re.compile(r"[A-Za-z0-9+/=\n -]+")
_ADDRESS = re.compile(r"[0-9a-f.:]+")
_ELEMENT = re.compile(r"[0-9a-f:][0-9a-f:./ -]*")
_VERDICT = re.compile(r"return|accept|drop|goto (logged_[A-Za-z0-9_.-]+|logged/[a-z0-9]+)/[A-Za-z0-9_.-]+")
_LIMITED = re.compile(r"[0-9a-z][0-9a-z_.:/ -]*")
_SECRET = re.compile(r'"[A-Za-z0-9@._-]+" \* "(?:[^"\\]|\\["\\])+" \*')
_REACH = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]*( [0-9a-f.:/-]+)*")
_OPTION = re.compile(r"(tag:o[0-9a-f]{16},)?([0-9]+)(,|$)")


def test_the_example_has_text_in_every_place_that_can_have_it() -> None:
    assert set(text_kinds()) <= {place.kind for place in PLACES}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: "/".join(place.kind))
def test_text_stays_in_its_place(place: Place) -> None:
    # Of the other sections what is accepted stays as it is: so a document takes a millisecond, not ten.
    section = str(place.path[0])
    wanted = shape_as_it_is(section)
    for name, nasty in NASTY.items():
        half = len(place.text) // 2
        for text in (place.text + nasty, nasty + place.text, place.text[:half] + nasty + place.text[half:]):
            changed = place.changed({section: EVERYTHING[section]}, text)
            try:
                found = shape(section, changed[section])
            except RefusedError as error:
                pointers = [problem.pointer for problem in error.problems]
                assert any(pointer_of(place) in pointer or not pointer for pointer in pointers) or (
                    is_plain(text)
                ), (name, pointers)
            else:
                assert found == wanted, name


def pointer_of(place: Place) -> str:
    """Of the place, or of what holds it where it is a key."""
    parts = place.path[:-1] if place.kind[-1] == "<key>" else place.path
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def is_plain(text: str) -> bool:
    """Text that is well formed, but now is at odds with other sections, whose check says so."""
    return re.fullmatch(r"[A-Za-z0-9./~-]+", text) is not None


@cache
def accepted() -> RouterDocument:
    return read(sealed(EVERYTHING))


def sealed(value: Any) -> Any:
    return Sealer(b"key").seal(value, SEALED)[0]


@cache
def shape_as_it_is(section: str) -> Any:
    return shape(section, EVERYTHING[section])


def shape(section: str, value: Any) -> Any:
    """What must not change however texts of a section do: lines, directives, options, elements."""
    changed = merge_patch(accepted(), {}) | sealed({section: value})
    return [shape_of(resource) for resource in resources(read(changed, accepted()))]


def shape_of(resource: Resource) -> Any:
    match resource:
        case File(path=path) if path.endswith(".json"):
            return path, structure(json.loads(resource.content))
        case File(path=path) if path.endswith("/chap-secrets"):
            assert_lines(resource.content)
            return path, [secret_shape(line) for line in lines(resource.content)]
        case File(path=path) if path.endswith("/users/reach"):
            assert all(_REACH.fullmatch(line) for line in lines(resource.content)[:-1])
            return path, [line.partition(" ")[2] for line in lines(resource.content)]
        case File():
            assert_lines(resource.content)
            return resource.path, [line.partition("=")[0] for line in lines(resource.content)]
        case Records():
            for record in resource.records.values():
                assert_lines(record)
                assert len(lines(record)) == 1 == len(record.splitlines())
            return resource.path, [record_shape(resource.path, line) for line in resource.records.values()]
        case Ruleset():
            # Limits have MAC addresses, and names of chains.
            plain = _LIMITED if resource.table == "sysvm_limits" else _ELEMENT
            for elements in resource.elements.values():
                for key, mapped in elements.items():
                    assert plain.fullmatch(key), key
                    assert mapped is None or plain.fullmatch(mapped) or _VERDICT.fullmatch(mapped), mapped
            assert all(_LIMITED.fullmatch(name) for name in resource.limits)
            return len(lines(resource.text)), [*map(len, resource.elements.values())]
        case Password():
            return "password"
        case LoadBalancers():
            text = load_balancers.config(resource)
            assert_lines(text)
            for pem in resource.certificates.values():
                assert PEM.fullmatch(pem)
            return [words_of(line) for line in lines(text)], len(resource.certificates)
        case _:
            assert_lines(repr(resource))
            return type(resource)


def assert_lines(text: str) -> None:
    """Lines of printable text, and of nothing else."""
    assert text.replace("\n", "").isprintable(), text


def lines(text: str) -> list[str]:
    return text.split("\n")


def words_of(line: str) -> tuple[str, int]:
    """HAProxy's words, of a line that has nothing that would end one early: configuration manual, 2.2."""
    words, _, _ = line.strip().partition("# ")
    assert not set(words) & set("\"'\\#$"), line
    return words.partition(" ")[0], len(words.split(" "))


def record_shape(path: str, line: str) -> Any:
    if path.endswith("/hosts"):
        address, *names = line.split(" ")
        assert _ADDRESS.fullmatch(address)
        return len(names) in (1, 2)
    if path.endswith("/dhcp-hosts"):
        return len(line.split(","))
    if path.endswith("/dhcp-options"):
        option = _OPTION.match(line)
        assert option is not None, line
        return bool(option[1]), option[2]
    return structure(json.loads(line))


def secret_shape(line: str) -> bool:
    """One of pppd's secrets: four words, of which the user's name and the password are in quotes."""
    matched = _SECRET.fullmatch(line)
    assert matched or not line or line.startswith("#"), line
    return matched is not None


def structure(value: Any) -> Any:
    """JSON without its texts."""
    if isinstance(value, dict):
        return sorted((key if key.isidentifier() else "*", structure(item)) for key, item in value.items())
    if isinstance(value, list):
        return [structure(item) for item in value]
    return type(value).__name__


@pytest.mark.parametrize("name", ["ignore", "infinite", "7", "12h", "1d", "30m", "2w", "90s"])
def test_a_host_name_that_is_a_word_of_dnsmasqs_is_written_as_a_name(name: str) -> None:
    value = example("everything")
    value["dhcp"]["guest0"]["reservations"]["02:00:0a:01:01:0a"]["hostname"] = name
    (records,) = (
        resource
        for resource in resources(read(value))
        if isinstance(resource, Records) and resource.path.endswith("guest0/dhcp-hosts")
    )
    assert f",{name}.," in records.records["02:00:0a:01:01:0a"]
