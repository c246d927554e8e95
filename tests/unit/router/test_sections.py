"""What is remembered, or not checked again, reads no section but those it names."""

from collections.abc import Callable
from typing import Any

import pytest

from router import dnsmasq, firewall, metadata, port_forward, wireguard
from router.document import RouterDocument
from router.validation import CHECKS
from tests.examples import document

REMEMBERED: list[Any] = [
    dnsmasq._resources, firewall.elements, metadata._resources, port_forward.elements,
    wireguard._resources, wireguard.elements,
]  # fmt: skip


class Reader:
    """A document that notes which of its sections are asked for."""

    def __init__(self, document: RouterDocument) -> None:
        self.document, self.sections = document, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.sections.add(name)
        return getattr(self.document, name)


def sections(function: Callable[[Any], Any]) -> set[str]:
    reader = Reader(document("everything"))
    list(function(reader))
    return reader.sections


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__module__)
def test_checks(check: Callable[[Any], Any]) -> None:
    assert sections(check) == set(CHECKS[check])


@pytest.mark.parametrize("function", REMEMBERED, ids=lambda function: function.__module__)
def test_remembered(function: Any) -> None:
    assert sections(function.__wrapped__) == set(function.sections)
