"""Clouds for tests: real namespaces, bridges and containers, each test's own, gone after it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.runtime.container import Containers
from images.tree import build

Tree = Callable[[str], Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below here needs root."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.root)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def tree() -> Tree:
    """The tree of a role; the first use may build it."""
    return build


@pytest.fixture
def cloud() -> Iterator[Containers]:
    """A cloud of its own, without segments (`cloud.switch.up([...])`) or machines."""
    containers = Containers(f"t{os.getpid() % 10**9}")
    containers.clear()
    yield containers
    containers.clear()
