"""The agent's client against a peer: what comes back as which error, and how long it takes."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from management_peer import Peer, closed_port, refusing

from appliance.boot import ControlInterface
from appliance.management.authority import Authority
from appliance.management.client import (
    Agent,
    ConflictError,
    FailedError,
    RefusedByAgentError,
    UnreachableError,
)

AddPeer = Callable[..., Peer]
CONTROL = ControlInterface(mac="02:00:00:00:00:01", address="127.0.0.1/8")


def agent(authority: Authority, peer: Peer, **options: object) -> Agent:
    context = authority.client_context()
    settings = {"name": peer.name, "host": "127.0.0.1", "port": peer.port, "context": context} | options
    return Agent(**settings)  # type: ignore[arg-type]


def test_one_connection_serves_many_requests(authority: Authority, add_peer: AddPeer) -> None:
    peer = add_peer("r1")
    with agent(authority, peer) as client:
        assert client.status().state == "empty"
        report = client.put('{"generation": 3}')
        assert (report.generation, report.state) == (3, "converged")
        assert (report.changes, report.seconds) == ((), 0.01)
        assert client.status().generation == 3
        assert client.plan('{"generation": 4}').changes == ({"kind": "File"},)


def test_answers_become_errors(authority: Authority, add_peer: AddPeer) -> None:
    peer = add_peer("r1")
    peer.answers = [409, refusing, 500]
    with agent(authority, peer) as client:
        with pytest.raises(ConflictError, match="The script says 409"):
            client.put("{}")
        with pytest.raises(RefusedByAgentError) as refused:
            client.put("{}")
        assert refused.value.problems[0].pointer == "/dhcp/guest0"
        with pytest.raises(FailedError) as failed:
            client.put("{}")
        assert failed.value.status == 500
    peer.answers = [lambda _: (200, {"generation": "three"})]
    with agent(authority, peer) as client, pytest.raises(FailedError, match="whole number"):
        client.put("{}")


def test_machine_of_another_name_is_not_talked_to(authority: Authority, add_peer: AddPeer) -> None:
    peer = add_peer("r1")
    with pytest.raises(UnreachableError, match="certificate that isn't good"):
        agent(authority, peer, name="r2").put("{}")
    assert peer.puts == []


def test_stranger_is_not_let_in(add_peer: AddPeer, authority: Authority, tmp_path: Path) -> None:
    peer = add_peer("r1")
    context = ssl.create_default_context(cafile=authority.ca_path)
    with pytest.raises(UnreachableError):
        agent(authority, peer, context=context).put("{}")
    other = Authority.open(tmp_path / "other").client_context()
    with pytest.raises(UnreachableError):
        agent(authority, peer, context=other).put("{}")
    assert peer.puts == []


def test_nobody_there(authority: Authority) -> None:
    with pytest.raises(UnreachableError, match="refused"):
        agent(authority, Peer("r1", port=closed_port())).status()


def test_silence_ends_and_slowness_does_not(authority: Authority, add_peer: AddPeer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        mute = Peer("r1", port=silent.getsockname()[1])
        with pytest.raises(UnreachableError, match="in time"):
            agent(authority, mute, handshake_timeout=0.3).status()
        assert time.monotonic() - started < 2
    slow = add_peer("r2")
    slow.delay = 1.5
    with agent(authority, slow, connect_timeout=0.5, handshake_timeout=1.0) as client:
        assert client.put('{"generation": 1}').state == "converged"


def test_large_document_refused_before_it_was_read(authority: Authority, tmp_path: Path) -> None:
    """A server may answer and hang up while the body is still on its way."""
    boot = authority.boot("r1", "router", CONTROL)
    path = tmp_path / "r1.pem"
    path.write_text(boot.tls.certificate + boot.tls.key.get_secret_value())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=boot.tls.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(path)

    def answer(listening: socket.socket) -> None:
        with context.wrap_socket(listening.accept()[0], server_side=True) as connection:
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=answer, args=(listening,), daemon=True).start()
        peer = Peer("r1", port=listening.getsockname()[1])
        # Whether the answer survives the reset that follows it is up to TCP.
        with pytest.raises((FailedError, UnreachableError)):
            agent(authority, peer).put("x" * 2**24)
