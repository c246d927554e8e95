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


class Turns(LoadScopeScheduling):
    """A file's tests of emulated machines have one in common, and files of pure tests go anywhere; all other
    tests share a router, and take turns.

    Not by marks (`--dist loadgroup`): pytest 9.2 has no place where pytest-xdist 3.8 could leave a group's
    name, and all tests run anywhere then, without a word.
    """

    def _split_scope(self, nodeid: str) -> str:
        file: str = nodeid.partition("::")[0]
        return file if file.startswith((_MACHINES, *_ANYWHERE)) else "the others"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a run of everything a test of real daemons that fails is run once more: of thousands, by machines
    that are shared, one is now and then late. What it said at first is shown all the same, to be mended."""
    if hasattr(config, "workerinput"):
        for item in items:
            if not item.nodeid.startswith(_ANYWHERE):
                item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"FAILED AT FIRST: {report.nodeid}", bold=True)
        terminalreporter.line(report.longreprtext)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Turns:
    return Turns(config, log)
