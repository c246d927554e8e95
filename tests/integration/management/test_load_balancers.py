"""`sysvm appliance load-balancers`: what they do, told by way of the management plane."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from management_peer import Peer
from test_serve import Service

from appliance.management.commands import appliance


def seen(status: str, sessions: int, **fields: Any) -> dict[str, Any]:
    return {"status": status, "sessions": sessions, "sessions_total": 1000 * sessions, **fields}


def server(port: int, status: str, sessions: int) -> dict[str, Any]:
    return seen(status, sessions, address=f"10.1.1.10:{port}", weight=port % 10)


TOLD = {
    "shop": {
        **seen("OPEN", 9),
        "servers": {"web": server(81, "UP", 5)},
        "groups": {"api": {"servers": {"a[b]": server(82, "DOWN", 4)}}},
    }
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "state")
    service.directory.mkdir()
    service.start()
    yield service
    service.stop()


def test_load_balancers_their_servers_and_groups(service: Service, tmp_path: Path) -> None:
    peer = Peer("r1")
    service.create(peer, tmp_path)
    peer.told["/v1/load-balancers"] = TOLD
    options = ["--state", str(service.directory), "--api", service.url]
    result = CliRunner().invoke(appliance, [*options, "load-balancers", "r1"], env={"COLUMNS": "200"})
    peer.stop()
    assert result.exit_code == 0, result.output
    rows = [line.replace("│", " ").split() for line in result.output.splitlines()]
    assert ["shop", "OPEN", "9", "9,000"] in rows
    assert ["shop", "web", "10.1.1.10:81", "UP", "1", "5", "5,000"] in rows
    assert ["shop", "api", "a[b]", "10.1.1.10:82", "DOWN", "2", "4", "4,000"] in rows
