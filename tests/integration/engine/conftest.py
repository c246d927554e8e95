"""A machine for the engine: a network namespace and a directory, each test's own."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.engine.host import Host
from tests.namespace import entered

Run = Callable[..., str]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with entered():
        host = Host(generated=tmp_path / "run", persistent=tmp_path / "lib")
        host.generated.mkdir()
        yield host
        host.ip.close()


@pytest.fixture
def run(host: Host) -> Run:
    """Runs a command in the machine's namespace, as somebody else than the engine."""

    def run(*argv: str, stdin: str | None = None) -> str:
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True).stdout

    return run
