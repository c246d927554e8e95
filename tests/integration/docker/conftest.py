"""The router as a container between Docker networks: docs/examples/docker-compose.yml, and clients."""

import os
import shlex
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from docker_engine import Engine, EngineError
from docker_network import Network, host, issue
from pytest_docker.plugin import DockerComposeExecutor, Services

from appliance.runtime.runtime import MachineError
from images.image import build
from images.step import Steps
from images.tree import default_cache
from tests.examples import DIRECTORY

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def host_before() -> str:
    """What no engine may change of the host, as it was before ours."""
    return host()


@pytest.fixture(scope="session")
def engine(host_before: str) -> Iterator[Engine]:
    started = Engine(f"dk{os.getpid() % 10**8}")
    try:
        started.start()
        yield started
    except (EngineError, MachineError) as error:
        pytest.skip(str(error))
    finally:
        started.stop()


@pytest.fixture(scope="session")
def loaded(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The engine with our images, as `docker load` takes them."""
    out = tmp_path_factory.mktemp("images")

    def load(role: str) -> None:
        steps = Steps(log=out / f"{role}.log")
        build(role, out=out, cache=default_cache(), steps=steps, formats=["oci.tar"])
        engine.docker("load", "--input", str(out / role / f"sysvm-{role}.oci.tar"))

    with ThreadPoolExecutor() as threads:
        for _ in threads.map(load, ("router", "guest")):
            pass
    shutil.rmtree(out)
    return engine


@pytest.fixture(scope="session")
def docker_compose_command(loaded: Engine) -> str:
    return shlex.join(loaded.command("docker-compose"))


@pytest.fixture(scope="session")
def docker_compose_file(engine: Engine) -> list[str]:
    place = engine.place / "compose"
    place.mkdir()
    for path in (DIRECTORY / "docker-compose.yml", *HERE.glob("[!_]*.*")):
        shutil.copy(path, place)
    return [str(place / name) for name in ("docker-compose.yml", "clients.yml")]


@pytest.fixture(scope="session")
def docker_compose_project_name() -> str:
    return "sysvm"


@pytest.fixture(scope="session")
def identity(docker_compose_file: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The management plane's state directory; the router's boot data is where the compose file wants it."""
    directory = tmp_path_factory.mktemp("management")
    issue(directory, Path(docker_compose_file[0]).with_name("r1.boot"))
    return directory


@pytest.fixture(scope="session")
def docker_setup(identity: Path) -> list[str]:
    return ["up --detach --wait router", "up --detach site resolver"]


@pytest.fixture(scope="session")
def network(
    loaded: Engine,
    identity: Path,
    docker_services: Services,
    docker_compose_command: str,
    docker_compose_file: list[str],
    docker_compose_project_name: str,
) -> Network:
    """All up: the router runs docs/examples/router.json, and its guest has booted."""
    compose = DockerComposeExecutor(docker_compose_command, docker_compose_file, docker_compose_project_name)
    made = Network(engine=loaded, identity=identity, compose=compose)
    made.apply(DIRECTORY / "router.json")
    compose.execute("up --detach web")
    made.run("web", "cloud-init", "status", "--wait")
    return made
