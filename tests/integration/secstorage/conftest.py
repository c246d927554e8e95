"""Daemons that tests share, each with a directory of its own."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.secstorage.s3_daemon import Daemon, running


@pytest.fixture(scope="module", params=["attributes", "side files"])
def s3(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("s3"), attributes=request.param == "attributes") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def plain_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("s3")) as daemon:
        yield daemon


@pytest.fixture
def bucket(s3: Daemon, request: pytest.FixtureRequest) -> str:
    name: str = request.node.name.split("[")[0].removeprefix("test_").replace("_", "-")[:60].strip("-")
    s3.client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def boto(s3: Daemon) -> Any:
    return s3.client()
