"""The router as a role: every service is in it, and what it checks."""

from typing import Any

from appliance import roles
from appliance.checks import DhcpCheck, DnsCheck, HttpCheck, LinkCheck, MetadataCheck
from router import role

DOCUMENT: dict[str, Any] = {
    "role": "router",
    "name": "r1",
    "generation": 1,
    "interfaces": {"guest0": {"mac": "02:00:00:00:00:01", "addresses": ["10.1.1.1/24"]}},
    "dhcp": {"guest0": {}},
    "dns": {"guest0": {"domain": "cs1.example"}},
    "metadata": {"guest0": {}},
}


def test_checks_ask_each_service_what_a_guest_would() -> None:
    checks = list(role.checks(roles.read("router", DOCUMENT)))  # type: ignore[arg-type]
    kinds = [type(check) for check in checks]
    assert kinds == [LinkCheck, DnsCheck, DhcpCheck, HttpCheck, MetadataCheck]
    assert len({check.name for check in checks}) == len(checks)


def test_an_empty_document_has_nothing_to_check() -> None:
    assert list(role.checks(roles.empty("router", "r1"))) == []  # type: ignore[arg-type]


def test_what_is_handed_out_once_is_sealed() -> None:
    assert ("metadata", "*", "guests", "*", "password") in role.SEALED
