"""`sysvm serve` as a process of its own: its API, kill -9 in the middle of a push, and a full stop."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import requests
from click.testing import CliRunner
from management_peer import Peer, closed_port, refusing

from appliance.boot import Boot
from appliance.cli import main as sysvm
from appliance.management.commands import appliance as appliance_commands

COMMAND = "from appliance.management.commands import serve; serve()"


PLACEMENT = {
    "host": "qemu:///system",
    "image": "/images/router.qcow2",
    "interfaces": [{"mac": "02:00:00:00:00:01", "segment": "br0"}],
}


class Service:
    """The management plane in a process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = f"http://127.0.0.1:{closed_port()}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [
            sys.executable, "-c", COMMAND,
            "--state", str(self.directory),
            "--listen", self.url.removeprefix("http://"),
            "--poll", "0.5",
        ]  # fmt: skip
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with (self.directory.parent / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while True:
            try:
                assert requests.get(f"{self.url}/healthz", timeout=5).json() == {"status": "ok"}
                return
            except requests.ConnectionError:
                assert self.process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.process = None
        return code

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        token = (self.directory / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
        return requests.request(method, self.url + path, json=body, headers=headers, timeout=30, **options)

    def create(self, peer: Peer, directory: Path) -> None:
        """An appliance that a peer plays. Its port has to be known first and its boot data after."""
        peer.port = closed_port()
        body = {
            "name": peer.name, "role": "router", "port": peer.port,
            "control": {"mac": "02:00:00:00:00:01", "address": "127.0.0.1/8"},
        }  # fmt: skip
        answer = self.ask("POST", "/v1/appliances", body)
        assert answer.status_code == 201, answer.text
        boot = Boot.model_validate_json(json.dumps(answer.json()["boot"]))
        peer.start(boot, directory)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "state")
    service.directory.mkdir()
    service.start()
    yield service
    if service.process is not None:
        service.stop(signal.SIGKILL)


@pytest.fixture
def peer(service: Service, tmp_path: Path) -> Iterator[Peer]:
    peer = Peer("r1")
    service.create(peer, tmp_path)
    yield peer
    peer.stop()


def routes(number: int) -> dict[str, Any]:
    return {
        "interfaces": {"guest0": {"mac": "02:00:00:00:00:01", "addresses": ["10.0.0.254/24"]}},
        "routes": {"r": {"destination": f"10.{number}.0.0/16", "gateway": "10.0.0.1"}},
    }


def until(truth: Callable[[], bool], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_put_waits_for_the_appliance(service: Service, peer: Peer) -> None:
    one = "/v1/appliances/r1/document"
    answer = service.ask("PUT", f"{one}?wait=10", routes(1))
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"1"')
    assert answer.json()["converged"] is True
    assert peer.document == {"role": "router", "name": "r1", **routes(1), "generation": 1}

    shown = service.ask("GET", one)
    assert (shown.json(), shown.headers["ETag"]) == ({"role": "router", "name": "r1", **routes(1)}, '"1"')
    assert service.ask("GET", one, headers={"If-None-Match": '"1"'}).status_code == 304
    again = service.ask("PUT", f"{one}?wait=10", shown.json())
    assert (again.status_code, again.json()["changed"]) == (200, False)

    patched = service.ask("PATCH", f"{one}?wait=10", routes(2), headers={"If-Match": '"1"'})
    assert (patched.status_code, peer.generation) == (200, 2)
    stale = service.ask("PATCH", one, routes(3), headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["generation"]) == (412, 2)
    older = service.ask("PUT", one, {**routes(3), "generation": 2})
    assert (older.status_code, older.headers["Content-Type"]) == (409, "application/problem+json")
    earlier = service.ask("GET", f"{one}?generation=1")
    assert earlier.json() == shown.json()


def test_bad_document_never_reaches_the_appliance(service: Service, peer: Peer) -> None:
    answer = service.ask("PUT", "/v1/appliances/r1/document?wait=10", {"dhcp": {"guest0": {"bogus": 1}}})
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/dhcp/guest0/bogus"]
    assert service.ask("GET", "/v1/appliances/r1").json()["wanted"] == 0
    assert peer.puts == []


def test_refusal_by_the_appliance_ends_the_wait(service: Service, peer: Peer) -> None:
    peer.answers = [refusing]
    started = time.monotonic()
    answer = service.ask("PUT", "/v1/appliances/r1/document?wait=20", routes(1))
    assert time.monotonic() - started < 5
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/dhcp/guest0"]
    shown = service.ask("GET", "/v1/appliances/r1").json()
    assert (shown["state"], shown["problems"][0]["pointer"]) == ("refused", "/dhcp/guest0")


def test_chunked_body_is_read(service: Service, peer: Peer) -> None:
    token = (service.directory / "token").read_text().strip()
    answer = requests.put(
        f"{service.url}/v1/appliances/r1/document?wait=10",
        data=iter([json.dumps(routes(1)).encode()]),
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text


def test_agent_is_asked_through(service: Service, peer: Peer) -> None:
    assert service.ask("GET", "/v1/appliances/r1/status").json() == {"generation": 0, "state": "empty"}
    assert service.ask("GET", "/v1/appliances/r1/usage").json() == {"path": "/v1/usage"}
    assert service.ask("GET", "/v1/appliances/r1/hits").json() == {"path": "/v1/hits"}
    for question in ("usage", "load-balancers", "vpn"):
        answer = service.ask("GET", f"/v1/appliances/r1/{question}").json()
        assert answer == {"path": f"/v1/{question}"}
    assert service.ask("GET", "/v1/appliances/r1/health").json() == {"path": "/v1/health"}
    planned = service.ask("POST", "/v1/appliances/r1/plan", routes(1)).json()
    assert planned == {"generation": 1, "changes": [{"kind": "File"}]}
    alone = service.ask("POST", "/v1/appliances/r1/switch-over")
    assert (alone.status_code, alone.json()["detail"]) == (
        409,
        "r1 answered 409: This router isn't the primary",
    )
    peer.redundancy = {"state": "primary"}
    assert service.ask("POST", "/v1/appliances/r1/switch-over").json()["state"] == "backup"
    peer.stop()
    gone = service.ask("GET", "/v1/appliances/r1/status")
    assert (gone.status_code, gone.headers["Content-Type"]) == (502, "application/problem+json")


def test_questions_about_packets_are_put_through(service: Service, peer: Peer) -> None:
    question = {"from": "10.1.1.10", "to": "198.51.100.7", "port": 80}
    for path in ("explain", "diagnostics/ping", "diagnostics/lookup"):
        answer = service.ask("POST", f"/v1/appliances/r1/{path}", question)
        assert answer.json() == {"path": f"/v1/{path}", "body": question}
    assert service.ask("POST", "/v1/appliances/r1/diagnostics/reboot", question).status_code == 404
    found = service.ask("GET", "/v1/appliances/r1/connections?guest=10.1.1.10&limit=5").json()
    assert found == {"path": "/v1/connections?guest=10.1.1.10&limit=5"}


def test_the_command_line_asks_about_packets(service: Service, peer: Peer) -> None:
    def run(*arguments: str, code: int = 0) -> bytes:
        name, *rest = arguments
        options = ["--state", str(service.directory), "--api", service.url]
        result = CliRunner().invoke(sysvm, [name, *options, *rest])
        assert result.exit_code == code, result.output
        return result.stdout_bytes

    asked = json.loads(
        run("explain", "r1", "--from", "10.1.1.10", "--to", "198.51.100.7", "--port", "80", "--json")
    )
    assert asked == {
        "path": "/v1/explain",
        "body": {"from": "10.1.1.10", "to": "198.51.100.7", "protocol": "tcp", "port": 80},
    }
    found = json.loads(run("appliance", "connections", "r1", "--guest", "10.1.1.10", "--json"))
    assert found == {"path": "/v1/connections?limit=1000&guest=10.1.1.10"}
    assert run("capture", "r1", "--link", "guest0", "--filter", "tcp port 80") == b"onetwothree"
    run("capture", "r1", "--link", "guest0", "--filter", "wrong", code=1)
    assert run("diagnostics", "r1") == b"onetwothree"
    run("diagnostics", "r2", code=1)
    run("explain", "r2", "--from", "10.1.1.10", "--to", "198.51.100.7", "--port", "80", code=1)
    run("explain", "r1", "--from", "10.1.1.10", "--to", "198.51.100.7", "--port", "0", code=2)
    run("diagnose", "ping", "r1", "10.1.1.10", "--count", "100", code=2)
    peer.told["/v1/usage"] = {"network-guest0": {"sent": {"bytes": 1234567, "packets": 1000}}}
    for own in ([], ["--own"]):
        text = run("appliance", "usage", "r1", *own).decode()
        (row,) = [line for line in text.splitlines() if "guest0" in line]
        assert "1,234,567" in row and "1,000" in row


def test_a_capture_streams_through(service: Service, peer: Peer) -> None:
    token = (service.directory / "token").read_text().strip()
    with requests.get(
        f"{service.url}/v1/appliances/r1/capture",
        params={"link": "guest0", "filter": "tcp port 80"},
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
        stream=True,
    ) as answer:
        assert answer.headers["Content-Type"] == "application/vnd.tcpdump.pcap"
        pieces = list(answer.iter_content(None))
    assert b"".join(pieces) == b"onetwothree"
    assert len(pieces) > 1, "the first comes before the last is there"
    wrong = service.ask("GET", "/v1/appliances/r1/capture?link=guest0&filter=wrong")
    assert (wrong.status_code, wrong.headers["Content-Type"]) == (422, "application/problem+json")
    assert "The filter is none" in wrong.json()["detail"]
    archive = service.ask("GET", "/v1/appliances/r1/diagnostics")
    assert (archive.headers["Content-Type"], archive.content) == ("application/gzip", b"onetwothree")
    assert service.ask("GET", "/v1/appliances/r1/status").status_code == 200


def test_token_is_needed(service: Service) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}):
        answer = requests.get(f"{service.url}/v1/appliances", headers=headers, timeout=10)
        assert (answer.status_code, "WWW-Authenticate" in answer.headers) == (401, True)
    assert (service.directory / "token").stat().st_mode & 0o777 == 0o600
    assert service.ask("GET", "/v1/appliances").json() == {"appliances": []}


def test_reissued_boot_data_and_deletion(service: Service, peer: Peer) -> None:
    boot = service.ask("POST", "/v1/appliances/r1/boot")
    assert Boot.model_validate_json(boot.content).name == "r1"
    metrics = service.ask("GET", "/metrics").text
    assert 'sysvm_appliance_certificate_expiry_timestamp_seconds{appliance="r1"}' in metrics
    assert service.ask("DELETE", "/v1/appliances/r1").status_code == 204
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/document"), ("POST", "/boot")):
        assert service.ask(method, f"/v1/appliances/r1{path}").status_code == 404
    assert service.ask("PATCH", "/v1/appliances").status_code == 405


def test_killed_in_the_middle_of_a_push_it_goes_on(service: Service, peer: Peer) -> None:
    peer.delay = 1.0
    assert service.ask("PUT", "/v1/appliances/r1/document", routes(1)).status_code == 202
    until(lambda: len(peer.puts) == 1)
    assert service.stop(signal.SIGKILL) == -signal.SIGKILL
    peer.delay = 0
    until(lambda: peer.generation == 1)
    peer.generation, peer.state, peer.document = 0, "empty", None
    service.start()
    until(lambda: bool(service.ask("GET", "/v1/appliances/r1").json()["converged"]))
    assert (peer.generation, len(peer.puts)) == (1, 2)
    assert service.ask("PUT", "/v1/appliances/r1/document?wait=10", routes(2)).json()["generation"] == 2


def test_killed_again_and_again_it_loses_nothing(service: Service, tmp_path: Path) -> None:
    peers = [Peer(f"r{number}", delay=0.2) for number in range(20)]
    for peer in peers:
        service.create(peer, tmp_path)
    for mark in range(1, 5):
        for peer in peers:
            path = f"/v1/appliances/{peer.name}/document"
            assert service.ask("PUT", path, routes(mark)).status_code == 202
        service.stop(signal.SIGKILL)
        service.start()

    def converged() -> bool:
        listed = service.ask("GET", "/v1/appliances").json()["appliances"]
        return all(item["converged"] for item in listed)

    until(converged, seconds=20)
    assert {peer.generation for peer in peers} == {4}
    # A push that was cut off may still be applied when the next one comes: never more than those two.
    assert max(peer.most_at_once for peer in peers) <= 2
    for peer in peers:
        peer.stop()


def test_ends_cleanly_while_somebody_waits(service: Service, peer: Peer) -> None:
    peer.answers = [500]
    answers: list[int] = []

    def wait() -> None:
        answer = service.ask("PUT", "/v1/appliances/r1/document?wait=25", routes(1))
        answers.append(answer.status_code)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: bool(peer.puts))
    started = time.monotonic()
    assert service.stop() == 0
    thread.join()
    assert time.monotonic() - started < 5
    assert answers == [202]


def test_second_one_on_the_same_state_is_refused(service: Service) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = [sys.executable, "-c", COMMAND, "--state", str(service.directory), "--listen", "127.0.0.1:1"]
    second = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert second.returncode == 1
    assert "in use by another management plane" in second.stderr
    assert "Traceback" not in second.stderr


def test_commands(service: Service, tmp_path: Path) -> None:
    boot, document = tmp_path / "boot.json", tmp_path / "document.json"
    peer = Peer("r1", port=closed_port())

    def run(*arguments: str, code: int = 0) -> str:
        options = ["--state", str(service.directory), "--api", service.url]
        result = CliRunner().invoke(appliance_commands, [*options, *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit | click.ClickException)
        assert result.exit_code == code, result.output
        return result.output

    run("create", "r1", "--control-mac", "02:00:00:00:00:01", "--control-address", "127.0.0.1/8",
        "--port", str(peer.port), "-o", str(boot))  # fmt: skip
    assert boot.stat().st_mode & 0o777 == 0o600
    # A pipe, or /dev/null, is written to and stays what it is.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        run("boot", "r1", "-o", str(pipe))
        assert Boot.model_validate_json(reader.communicate()[0]).name == "r1"
    assert pipe.is_fifo()
    peer.start(Boot.model_validate_json(boot.read_bytes()), tmp_path)
    document.write_text(json.dumps(routes(1)))
    assert run("push", "r1", str(document), "--wait") == "r1 runs generation 1.\n"
    assert "converged" in run("list")
    assert json.loads(run("show", "r1", "--document"))["routes"] == routes(1)["routes"]
    assert "127.0.0.1/8" in run("show", "r1")
    peer.redundancy = {"state": "primary"}
    assert run("switch-over", "r1") == "r1 is the backup, r2 the primary.\n"
    assert "isn't the primary" in run("switch-over", "r1", code=1)
    document.write_text('{"bogus": [1]}')
    assert "/bogus: " in run("push", "r1", str(document), code=1)
    document.write_text("{")
    assert "isn't JSON" in run("push", "r1", str(document), code=1)
    assert "no appliance 'r2'" in run("show", "r2", code=1)
    run("delete", "r1", "--yes")
    assert "r1" not in run("list")
    peer.stop()
    service.stop()
    assert "sysvm serve" in run("list", code=1)


def test_where_an_appliance_runs(service: Service, peer: Peer) -> None:
    path = "/v1/appliances/r1/placement"
    assert service.ask("GET", path).status_code == 404
    assert service.ask("PUT", "/v1/appliances/r2/placement", PLACEMENT).status_code == 404
    answer = service.ask("PUT", path, PLACEMENT | {"image": "relative"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/image")
    for memory in (512, 1024):
        assert service.ask("PUT", path, PLACEMENT | {"memory": memory}).status_code == 200
        assert service.ask("GET", path).json()["memory"] == memory
    service.stop(signal.SIGKILL)
    service.start()
    assert service.ask("GET", path).json()["interfaces"] == PLACEMENT["interfaces"]
    assert service.ask("DELETE", path).status_code == 204
    assert service.ask("GET", path).status_code == 404
    service.ask("PUT", path, PLACEMENT)
    # It goes with its appliance.
    assert service.ask("DELETE", "/v1/appliances/r1").status_code == 204
    assert service.ask("GET", path).status_code == 404
