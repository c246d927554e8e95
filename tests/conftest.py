"""How tests are shared out where several processes run them (`--dist loadgroup`)."""

from pathlib import Path

import pytest

MACHINES = Path(__file__).parent / "vm"


# Before pytest-xdist's own hook, which puts the groups' names into the tests'.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests of emulated machines have one in common; all other tests share a router, and take
    turns."""
    for item in items:
        name = item.path.stem if MACHINES in item.path.parents else "the others"
        item.add_marker(pytest.mark.xdist_group(name))
