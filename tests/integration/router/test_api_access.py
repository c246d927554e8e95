"""Who gets to the agent's API, and that nobody keeps others from it."""

import contextlib
import re
import socket
import ssl
import time
from pathlib import Path

import pytest
from router_lab import CONTROL, PUBLIC, ROUTER, Lab

from appliance.boot import ControlInterface
from appliance.management.authority import Authority


def refused(lab: Lab, context: ssl.SSLContext) -> bool:
    """Whether a client is turned away. In TLS 1.3 it learns of that with the first answer."""
    try:
        return lab.request("GET", "/v1/status", context=context, seconds=5).status != 200
    except (ssl.SSLError, ConnectionError, OSError):
        return True


def trusting(lab: Lab) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(lab.authority.ca_path))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def test_only_the_management_planes_certificate_gets_in(unharmed: Lab, tmp_path: Path) -> None:
    assert refused(unharmed, trusting(unharmed))  # none

    foreign = Authority.open(tmp_path / "foreign")
    context = trusting(unharmed)
    context.load_cert_chain(foreign.client_path)
    assert refused(unharmed, context)

    # Another appliance's, of the right CA, for servers only.
    control = ControlInterface(mac="02:00:00:00:00:77", address="169.254.3.7/24", gateway=None)
    other = unharmed.authority.boot("r2", "router", control)
    (tmp_path / "r2.pem").write_text(other.tls.certificate + other.tls.key.get_secret_value())
    context = trusting(unharmed)
    context.load_cert_chain(tmp_path / "r2.pem")
    assert refused(unharmed, context)

    # TLS 1.2 and cleartext.
    context = unharmed.authority.client_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert refused(unharmed, context)
    with unharmed["mgmt"].socket() as plain:
        plain.connect((CONTROL, 8443))
        plain.send(b"GET /v1/status HTTP/1.1\r\nHost: r1\r\n\r\n")
        with contextlib.suppress(OSError):
            assert b"generation" not in plain.recv(1000)


@pytest.mark.parametrize("client", ["vm1", "vm3", "net"])
def test_guests_and_the_world_dont_reach_it(unharmed: Lab, client: str) -> None:
    for address in (CONTROL, "10.1.1.1", "10.1.2.1", "169.254.169.254", PUBLIC):
        with unharmed[client].socket() as asking, pytest.raises(OSError):
            asking.settimeout(0.3)
            asking.connect((address, 8443))
            raise AssertionError(f"{client} reached {address}")


def test_a_guest_that_claims_to_be_on_the_control_network_doesnt_either(unharmed: Lab) -> None:
    guest = unharmed["vm1"]
    guest.run("ip", "address", "add", "169.254.3.66/24", "dev", "eth0")
    guest.run("ip", "neigh", "replace", CONTROL, "lladdr", "02:00:0a:01:01:01", "dev", "eth0")
    try:
        for port in (8443, 53, 80):
            with guest.socket() as asking, pytest.raises(OSError):
                asking.settimeout(0.3)
                asking.bind(("169.254.3.66", 0))
                asking.connect((CONTROL, port))
                raise AssertionError(f"reached port {port}")
        guest.run("ip", "neigh", "del", CONTROL, "dev", "eth0")
        assert not guest.ping(CONTROL)
        # It isn't even told who has that address.
        assert "02:00:a9:fe:03:02" not in guest.run("ip", "neigh", "show", CONTROL)
    finally:
        guest.run("ip", "address", "del", "169.254.3.66/24", "dev", "eth0")


def test_clients_that_trickle_keep_nobody_waiting(unharmed: Lab) -> None:
    slow: list[socket.socket] = []
    try:
        for number in range(50):
            if number % 2:
                connected: socket.socket = unharmed.connect()
                connected.sendall(
                    b"PUT /v1/config HTTP/1.1\r\nHost: r1\r\nContent-Type: application/json\r\n"
                )
                if number % 4 == 1:
                    connected.sendall(b"Content-Length: 100000\r\n\r\n{")
            else:
                connected = unharmed["mgmt"].socket()
                connected.connect((CONTROL, 8443))
                if number % 4 == 2:
                    connected.sendall(b"\x16\x03\x01")  # of a TLS handshake, the beginning
            slow.append(connected)
        worst = 0.0
        for _ in range(6):
            for each in slow:
                with contextlib.suppress(OSError):
                    each.send(b"X")
            started = time.monotonic()
            assert unharmed.request("GET", "/v1/status", seconds=5).status == 200
            worst = max(worst, time.monotonic() - started)
            time.sleep(0.1)
        assert worst < 1.0
        generation = unharmed.get("/v1/config")["generation"]
        again = unharmed.get("/v1/config") | {"generation": generation}
        assert unharmed.request("PUT", "/v1/config", again, seconds=5).status == 200
    finally:
        for each in slow:
            each.close()


def memory(lab: Lab) -> int:
    """Bytes that the agent has in memory now."""
    process = lab.unit("sysvm-agent.service", "MainPID")
    found = re.search(r"VmRSS:\s+(\d+) kB", lab.run("cat", f"/proc/{process}/status"))
    assert found
    return int(found[1]) * 1024


def test_a_body_of_50_megabytes_is_refused_within_bounds(unharmed: Lab) -> None:
    before = memory(unharmed)
    for body in (b'{"a":"' + b"x" * 50_000_000 + b'"}', b"[" * 50_000_000):
        answer = unharmed.request("PUT", "/v1/config", body)
        assert answer.status in (400, 413), answer
    assert memory(unharmed) - before < 150_000_000
    # More than is even read.
    with unharmed.connect() as connected:
        connected.sendall(
            b"PUT /v1/config HTTP/1.1\r\nHost: r1\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99999999999\r\n\r\n{"
        )
        connected.settimeout(30)
        assert b" 413 " in connected.recv(1000) or b" 400 " in connected.recv(1000)


def test_odd_requests_are_answered_or_dropped(unharmed: Lab) -> None:
    for text in (
        b"GET /v1/status HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\nHost: r1\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: r1\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
        b"PUT /v1/config HTTP/1.1\r\nHost: r1\r\nContent-Length: -1\r\n\r\n",
        b"PUT /v1/config HTTP/1.1\r\nHost: r1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0",
        b"PUT /v1/config HTTP/1.1\r\nHost: r1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
        bytes(range(256)) * 10,
        # HTTP/2 in each way to begin it, and a websocket: the agent leaves out what would speak them.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        b"GET /v1/status HTTP/1.1\r\nHost: r1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: r1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ):
        with unharmed.connect() as connected, contextlib.suppress(OSError):
            connected.settimeout(2)
            connected.sendall(text)
            assert b" 500 " not in connected.recv(1000), text[:60]
    assert unharmed.status()["name"] == ROUTER
