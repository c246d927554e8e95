"""A console proxy's document: what it means, and what is wrong with one."""

import json
from typing import Any

import pytest

from appliance.model import RefusedError, merge_patch
from appliance.resources import File, Ruleset, Unit
from appliance.roles import read, resources
from tests.certificates import Authority
from tests.examples import example

AUTHORITY = Authority()
CERTIFICATE, KEY = AUTHORITY.issue("console.example.org")


def changed(patch: dict[str, Any]) -> Any:
    return merge_patch(example("consoleproxy"), patch)


def problems(patch: dict[str, Any]) -> list[tuple[str, str]]:
    try:
        read("consoleproxy", changed(patch))
    except RefusedError as error:
        return [(problem.pointer, problem.detail) for problem in error.problems]
    return []


def files(patch: dict[str, Any]) -> dict[str, File]:
    state = resources(read("consoleproxy", changed(patch)))
    return {item.path: item for item in state if isinstance(item, File)}


TLS = {
    "listen": {"behind-haproxy": {"tls": True}},
    "certificates": {"own": {"names": ["console.example.org"], "certificate": CERTIFICATE, "key": KEY}},
    "default_certificate": "own",
}


def test_the_daemons_file() -> None:
    file = files({})["/run/sysvm/console/config.json"]
    assert file.secret
    assert file.mode == 0o640
    config = json.loads(file.content)
    assert config["consoles"]["vm1"]["password"] == "only an example"
    assert config["consoles"]["vm2"]["headers"] == {"Cookie": "session_id=OpaqueRef:only an example"}
    assert config["listen"] == [{"address": "203.0.113.9", "port": 8080, "tls": False}]


def test_certificates() -> None:
    made = files(TLS)
    assert made["/run/sysvm/console/certificates/own.pem"].content == CERTIFICATE + KEY
    assert made["/run/sysvm/console/certificates/own.pem"].secret
    config = json.loads(made["/run/sysvm/console/config.json"].content)
    assert config["certificate"] == "/run/sysvm/console/certificates/own.pem"


def test_a_change_of_any_file_is_a_reload() -> None:
    (unit,) = [item for item in resources(read("consoleproxy", changed(TLS))) if isinstance(item, Unit)]
    assert unit.restart_on == ()
    assert len(unit.reload_on) == 2


def test_the_packet_filter_lets_browsers_in() -> None:
    (ruleset,) = [item for item in resources(read("consoleproxy", changed({}))) if isinstance(item, Ruleset)]
    assert ruleset.elements["listening4"] == {"8080 . 203.0.113.9 . 6": None}


@pytest.mark.parametrize(
    ("patch", "pointer"),
    [
        ({"listen": {"behind-haproxy": {"address": "203.0.113.10"}}}, "/listen/behind-haproxy/address"),
        ({"listen": {"behind-haproxy": {"tls": True}}}, "/listen/behind-haproxy/tls"),
        ({"listen": {"b": {"address": "203.0.113.9", "port": 8080, "tls": False}}}, "/listen/b/port"),
        ({"default_certificate": "none"}, "/default_certificate"),
        ({"issuers": {"plane": "c2hvcnQ="}}, "/issuers/plane"),
        ({"consoles": {"vm1": {"port": None}}}, "/consoles/vm1/port"),
        ({"consoles": {"vm1": {"socket": "/run/x"}}}, "/consoles/vm1"),
        ({"consoles": {"vm1": {"address": None, "port": None}}}, "/consoles/vm1"),
        ({"consoles": {"vm1": {"address": "vm1.example"}}}, "/consoles/vm1/address"),
        ({"consoles": {"vm1": {"path": "/x"}}}, "/consoles/vm1/path"),
        ({"consoles": {"vm2": {"path": "/x y"}}}, "/consoles/vm2/path"),
        ({"consoles": {"vm2": {"path": "/x\r\nEvil: 1"}}}, "/consoles/vm2/path"),
        ({"consoles": {"vm2": {"cookie": "a\r\nEvil: 1"}}}, "/consoles/vm2/cookie"),
        ({"consoles": {"vm1": {"cookie": "a=b"}}}, "/consoles/vm1/cookie"),
        ({"consoles": {"vm1": {"transport": "tls"}}}, "/consoles/vm1/tls"),
        ({"consoles": {"vm1": {"user": "root"}}}, "/consoles/vm1/user"),
        ({"consoles": {"vm1": {"tls": {"authority": "none"}}}}, "/consoles/vm1/tls/authority"),
        ({"consoles": {"vm1": {"title": "a\nb"}}}, "/consoles/vm1/title"),
        ({"consoles": {"../x": {"address": "10.9.0.1", "port": 1}}}, "/consoles/..~1x"),
        ({"path": "/a;b"}, "/path"),
        ({"path": "console"}, "/path"),
        ({"origins": ["https://x; script-src *"]}, "/origins/0"),
        ({"certificates": {"a": {"certificate": "x", "key": "y"}}}, "/certificates/a/certificate"),
        ({"certificates": {"a": {"certificate": CERTIFICATE, "key": "y"}}}, "/certificates/a/key"),
    ],
)
def test_what_is_wrong(patch: dict[str, Any], pointer: str) -> None:
    assert pointer in [found for found, _ in problems(patch)]


def test_no_secret_is_said() -> None:
    text = repr(read("consoleproxy", changed(TLS))) + repr(problems({"consoles": {"vm1": {"password": 5}}}))
    assert "only an example" not in text
    assert KEY not in text
