"""How tests are shared out where several processes run them, and what all of them have in common."""

from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

# A machine that is busy with something else is no counterexample.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

_ANYWHERE = ("tests/unit/", "tests/golden/", "tests/lint/")
_MACHINES = "tests/vm/"
_TURNS = ("tests/integration/router/test_pair", "tests/integration/router/", "tests/")
"""What shares something dear: a pair of routers, a router, the machine that clouds come and go on."""


class Turns(LoadScopeScheduling):
    """A file's tests of emulated machines have one in common, and files of pure tests go anywhere. All other
    tests take turns with those of their kind.

    Not by marks (`--dist loadgroup`): pytest 9.2 has no place where pytest-xdist 3.8 could leave a group's
    name, and all tests run anywhere then, without a word.
    """

    def _split_scope(self, nodeid: str) -> str:
        file: str = nodeid.partition("::")[0]
        if file.startswith((_MACHINES, *_ANYWHERE)):
            return file
        return next(kind for kind in _TURNS if file.startswith(kind))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Turns:
    return Turns(config, log)
