"""Load balancers that speak TLS, and HTTP/2, with their servers; and HTTP/2 with clients."""

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from balanced import Behaviour, Web, balancer, certificate, curl, opened, worker
from hypercorn.asyncio import serve
from hypercorn.config import Config
from router_document import document
from router_lab import PUBLIC, Client, Lab, until

from tests.unit.router.pem import Identity, identity

PORT, SECURED = 8600, 8601
URL = f"http://{PUBLIC}:{PORT}/"
VM1, VM2 = "10.1.1.10", "10.1.1.11"
CA = identity("Servers' authority", authority=True)
OTHER = identity("Another authority", authority=True)
NAME = "inside.example"
INSIDE = identity(NAME, issuer=CA)
FRONT = identity("front.example")
FAST = {"interval": 0.2, "timeout": 1, "fall": 1, "rise": 1}


class Modern:
    """Hypercorn in a namespace: HTTP/1.1 and HTTP/2 over TLS, telling which of them it was."""

    def __init__(self, place: Client, port: int, own: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        listening = place.socket()
        listening.settimeout(None)
        listening.bind(("", port))
        config = Config()
        config.bind = [f"fd://{listening.detach()}"]
        config.certfile = config.keyfile = str(own)
        config.errorlog = None
        self._thread = threading.Thread(target=self._run, args=(config,), daemon=True)
        self._thread.start()

    def _run(self, config: Config) -> None:
        self._loop.run_until_complete(serve(_tell, config, shutdown_trigger=self._ended.wait))  # type: ignore[arg-type]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)


async def _tell(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    content = json.dumps({"version": scope["http_version"], "path": scope["path"]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": content})


def context(own: Path, asked: list[str | None]) -> ssl.SSLContext:
    """A server's, which remembers the names it was asked for."""
    using = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    using.load_cert_chain(own)
    using.sni_callback = lambda _, name, __: asked.append(name)  # type: ignore[assignment]
    return using


class Secured(Web):
    """`Web` over TLS."""

    def __init__(self, place: Client, port: int, behaviour: Behaviour, using: ssl.SSLContext) -> None:
        self.using = using
        super().__init__(place, port, behaviour)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.using.wrap_socket(request, server_side=True) as encrypted:
            super().finish_request(encrypted, client_address)  # type: ignore[arg-type]


def file_of(own: Identity, directory: Path) -> Path:
    path = directory / f"{abs(hash(own.certificate))}.pem"
    path.write_text(own.certificate + own.key)
    return path


@pytest.fixture(scope="module")
def names() -> list[str | None]:
    """Those that servers were asked for."""
    return []


@pytest.fixture(scope="module")
def _servers(
    shared_lab: Lab, tmp_path_factory: pytest.TempPathFactory, names: list[str | None]
) -> Iterator[None]:
    directory = tmp_path_factory.mktemp("tls")
    own = file_of(INSIDE, directory)
    impostor = file_of(identity(NAME, issuer=OTHER), directory)
    other = file_of(identity("other.example", issuer=CA), directory)
    place = shared_lab["vm1"]
    made: list[Web | Modern] = [
        Secured(place, 9443, Behaviour("good"), context(own, names)),
        Secured(place, 9444, Behaviour("impostor"), context(impostor, [])),
        Secured(place, 9445, Behaviour("other"), context(other, [])),
        Web(place, 9446, Behaviour("clear")),
        Modern(place, 9447, own),
    ]
    yield
    for each in made:
        each.close()


def verified(**fields: Any) -> dict[str, Any]:
    return {"authority": CA.certificate, "name": NAME, **fields}


def at(port: int) -> dict[str, Any]:
    return {"address": VM1, "port": port}


def put(lab: Lab, servers: dict[str, Any], **fields: Any) -> None:
    web = balancer(PUBLIC, PORT, servers, **{"mode": "http", "server_tls": verified(), **fields})
    secured = {**web, "port": SECURED, "mode": "http", "tls": {"certificates": ["front"]}}
    changed = {
        **document(),
        "load_balancers": {"web": web, "secured": secured},
        "certificates": {"front": certificate(FRONT)},
    }
    lab.put(opened(changed, (PUBLIC, "tcp", PORT), (PUBLIC, "tcp", SECURED)))


def status(lab: Lab) -> dict[str, tuple[str, str | None]]:
    servers = lab.get("/v1/load-balancers")["web"]["servers"]
    return {name: (server["status"], server["check"]) for name, server in servers.items()}


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_only_servers_that_prove_who_they_are(
    lab: Lab, _servers: None, names: list[str | None], mode: str
) -> None:
    servers = {"good": at(9443), "impostor": at(9444), "other": at(9445), "clear": at(9446)}
    names.clear()
    put(lab, servers, mode=mode, check={**FAST, **({"http": {}} if mode == "http" else {})})
    passed = "L7OK" if mode == "http" else "L6OK"
    refused = dict.fromkeys(("impostor", "other", "clear"), ("DOWN", "L6RSP"))
    until(lambda: status(lab) == {"good": ("UP", passed), **refused}, seconds=20)
    assert {curl(lab["net"], URL)["server"] for _ in range(4)} == {"good"}
    assert set(names) == {NAME}, "of checks, too"
    # Nor is anything sent to one that isn't asked for life.
    put(lab, {"impostor": at(9444)}, mode=mode)
    assert curl(lab["net"], URL, "--fail", check=False) is None
    put(lab, {"impostor": at(9444)}, mode=mode, server_tls={"verify": False})
    assert curl(lab["net"], URL)["server"] == "impostor"
    assert lab.drift() == []


def test_servers_come_without_a_reload_and_are_verified(lab: Lab, _servers: None) -> None:
    put(lab, {}, check=FAST)
    process = worker(lab)
    servers = {"good": at(9443), "impostor": at(9444)}
    lab.patch({"load_balancers": {"web": {"servers": servers}}})
    until(lambda: status(lab) == {"good": ("UP", "L6OK"), "impostor": ("DOWN", "L6RSP")}, seconds=20)
    assert curl(lab["net"], URL)["server"] == "good"
    assert worker(lab) == process
    assert lab.drift() == []


def test_another_authority(lab: Lab, _servers: None) -> None:
    servers = {"good": at(9443), "impostor": at(9444)}
    put(lab, servers, check=FAST)
    until(lambda: status(lab)["good"][0] == "UP" and status(lab)["impostor"][0] == "DOWN", seconds=20)
    lab.patch({"load_balancers": {"web": {"server_tls": {"authority": OTHER.certificate}}}})
    until(lambda: status(lab)["good"][0] == "DOWN" and status(lab)["impostor"][0] == "UP", seconds=20)
    assert curl(lab["net"], URL)["server"] == "impostor"
    both = CA.certificate + OTHER.certificate
    for name in ("web", "secured"):
        lab.patch({"load_balancers": {name: {"server_tls": {"authority": both}}}})
    until(lambda: {each[0] for each in status(lab).values()} == {"UP"}, seconds=20)
    assert lab.drift() == []
    assert len(lab.sh("ls /run/sysvm/haproxy/certificates/*.ca").split()) == 1, "what nobody asks for goes"
    lapsed = identity("Lapsed", authority=True, days=(-9, -1)).certificate
    refused = lab.patch({"load_balancers": {"web": {"server_tls": {"authority": lapsed}}}}, status=422)
    (error,) = refused["errors"]
    assert error["pointer"] == "/load_balancers/web/server_tls/authority"
    assert "its time has ended" in error["detail"]


def version(lab: Lab, url: str, *options: str) -> str:
    """Of HTTP, between client and load balancer."""
    quiet = ["--silent", "--insecure", "--output", "/dev/null", "--write-out", "%{http_version}"]
    return lab["net"].run("curl", *quiet, *options, url)


def test_http2_with_clients(lab: Lab, _servers: None) -> None:
    url = f"https://{PUBLIC}:{SECURED}/"
    put(lab, {"good": at(9443)})
    assert version(lab, url) == "2", "curl takes it where it is offered"
    assert version(lab, url, "--http1.1") == "1.1"
    lab.patch({"load_balancers": {"secured": {"tls": {"http2": False}}}})
    assert version(lab, url, "--http2") == "1.1"
    assert curl(lab["net"], url, "--insecure")["server"] == "good"


def test_http2_with_servers(lab: Lab, _servers: None) -> None:
    put(lab, {"modern": at(9447)}, check={**FAST, "http": {}})
    until(lambda: status(lab) == {"modern": ("UP", "L7OK")}, seconds=20)
    assert curl(lab["net"], URL)["version"] == "1.1"
    put(lab, {"modern": at(9447), "good": at(9443)}, server_tls=verified(http2=True),
        check={**FAST, "http": {}})  # fmt: skip
    until(lambda: set(status(lab).values()) == {("UP", "L7OK")}, seconds=20)
    # Who doesn't offer it is asked by HTTP/1.1.
    found = [curl(lab["net"], URL) for _ in range(4)]
    assert sorted(each.get("version", "older") for each in found) == ["2", "2", "older", "older"]
    # From end to end.
    url = f"https://{PUBLIC}:{SECURED}/a?b"
    told = {str(curl(lab["net"], url, "--insecure", "--http2")) for _ in range(2)}
    assert "{'version': '2', 'path': '/a'}" in told
