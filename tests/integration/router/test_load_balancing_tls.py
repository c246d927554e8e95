"""TLS at load balancers: certificates by name, replaced under way, and TLS that is passed through."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from balanced import Behaviour, Web, balancer, certificate, curl, haproxy, opened, worker
from router_document import document
from router_lab import PUBLIC, Lab, until

from tests.unit.router.pem import Identity, identity

PORT, PASSED = 8443, 8444
VM1 = "10.1.1.10"
CA = identity("Test authority", authority=True)
MIDDLE = identity("Test intermediate", issuer=CA, authority=True)
ONE, TWO = identity("one.example", issuer=MIDDLE), identity("two.example", issuer=MIDDLE)


@pytest.fixture(scope="module")
def _web(shared_lab: Lab) -> Iterator[None]:
    server = Web(shared_lab["vm1"], 8000, Behaviour("vm1"))
    yield
    server.close()


def wanted(**fields: Any) -> dict[str, Any]:
    servers = {"vm1": {"address": VM1, "port": 8000}}
    values = {"mode": "http", "tls": {"certificates": ["one", "two"]}, **fields}
    changed = {
        **document(),
        "load_balancers": {"web": balancer(PUBLIC, PORT, servers, **values)},
        "certificates": {"one": certificate(ONE, MIDDLE), "two": certificate(TWO, MIDDLE)},
    }
    return opened(changed, (PUBLIC, "tcp", PORT), (PUBLIC, "tcp", PASSED))


@pytest.fixture
def encrypted(lab: Lab, _web: None) -> Lab:
    lab.put(wanted())
    return lab


def context(*trusted: Identity) -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for each in trusted or (CA,):
        found.load_verify_locations(cadata=each.certificate)
    return found


def connect(lab: Lab, name: str, *, port: int = PORT, using: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    raw = lab["net"].socket()
    raw.settimeout(5)
    raw.connect((PUBLIC, port))
    try:
        return (using or context()).wrap_socket(raw, server_hostname=name)
    except BaseException:
        raw.close()
        raise


def shown(lab: Lab, name: str) -> bytes | None:
    """The certificate (DER) that a client gets which asks for this name, whatever it is worth."""
    using = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    using.check_hostname, using.verify_mode = False, ssl.CERT_NONE
    with connect(lab, name, using=using) as connected:
        return connected.getpeercert(binary_form=True)


def der(identity: Identity) -> bytes:
    return ssl.PEM_cert_to_DER_cert(identity.certificate)


def asked(connected: ssl.SSLSocket) -> Any:
    connected.sendall(b"GET / HTTP/1.1\r\nHost: one.example\r\n\r\n")
    text = b""
    while b"\r\n\r\n" not in text or not text.endswith(b"}"):
        text += connected.recv(4096)
    return json.loads(text.partition(b"\r\n\r\n")[2])


def test_a_client_gets_the_certificate_of_the_name_it_asks_for(encrypted: Lab) -> None:
    lab = encrypted
    for name in ("one.example", "two.example"):
        # The chain leads from it to the authority that the client trusts.
        with connect(lab, name) as connected:
            assert asked(connected)["headers"]["x-forwarded-proto"] == "https"
    assert shown(lab, "two.example") == der(TWO)
    assert shown(lab, "other.example") == der(ONE), "the first, for any other name"
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(lab, "other.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(lab, "one.example", using=context(identity("Somebody else", authority=True)))
    assert lab["net"].ask(PUBLIC, PORT) in (None, ""), "nothing in the clear"


def test_stock_clients(encrypted: Lab, tmp_path: Path) -> None:
    lab = encrypted
    (tmp_path / "ca.pem").write_text(CA.certificate)
    said = lab["net"].run("sh", "-c", f"openssl s_client -connect {PUBLIC}:{PORT} -servername two.example "
                          f"-CAfile {tmp_path}/ca.pem -verify_return_error </dev/null 2>&1")  # fmt: skip
    assert "Verify return code: 0 (ok)" in said
    assert "subject=CN = two.example" in said
    options = ["--cacert", str(tmp_path / "ca.pem"), "--resolve", f"one.example:{PORT}:{PUBLIC}"]
    url = f"https://one.example:{PORT}/"
    assert curl(lab["net"], url, *options)["server"] == "vm1"
    said = lab["net"].run(
        "curl", "--silent", "--http2", "--write-out", " HTTP/%{http_version}", *options, url
    )
    assert said.endswith(" HTTP/2")


def test_the_lowest_version(encrypted: Lab) -> None:
    lab = encrypted
    old = context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with connect(lab, "one.example", using=old) as connected:
        assert connected.version() == "TLSv1.2"
    lab.put(wanted(tls={"certificates": ["one"], "minimum_version": "1.3"}))
    with pytest.raises(ssl.SSLError):
        connect(lab, "one.example", using=old)
    with connect(lab, "one.example") as connected:
        assert connected.version() == "TLSv1.3"


def test_a_certificate_is_replaced_without_a_reload_and_cuts_nobody(encrypted: Lab) -> None:
    lab = encrypted
    process = worker(lab)
    renewed = identity("one.example", issuer=MIDDLE, days=(-2, 60))
    with connect(lab, "one.example") as connected:
        asked(connected)
        lab.patch({"certificates": {"one": certificate(renewed, MIDDLE)}})
        assert asked(connected)["server"] == "vm1"
        with connect(lab, "one.example"):
            pass
        assert shown(lab, "one.example") == der(renewed)
        assert shown(lab, "two.example") == der(TWO)
        assert asked(connected)["server"] == "vm1"
    assert worker(lab) == process
    # Nor does the next process have the old one; also if that is one after a crash.
    lab.patch({"load_balancers": {"web": {"timeouts": {"client": 44}}}})
    assert shown(lab, "one.example") == der(renewed)
    lab.run("kill", "-KILL", lab.unit("sysvm-haproxy@0.service", "MainPID"))
    until(lambda: shown(lab, "one.example") == der(renewed), seconds=15)


def test_one_that_somebody_replaces_by_hand_is_put_back(encrypted: Lab) -> None:
    lab = encrypted
    other = identity("one.example", issuer=CA, days=(-3, 9))
    path = "/run/sysvm/haproxy/certificates/one.pem"
    haproxy(lab, f"set ssl cert {path} <<\n{other.certificate}{other.key}")
    haproxy(lab, f"commit ssl cert {path}")
    assert shown(lab, "one.example") == der(other)
    until(lambda: shown(lab, "one.example") == der(ONE), seconds=45)


def test_more_of_them_and_fewer(encrypted: Lab) -> None:
    lab = encrypted
    three = identity("three.example", issuer=MIDDLE)
    lab.patch({
        "certificates": {"three": certificate(three, MIDDLE), "two": None},
        "load_balancers": {"web": {"tls": {"certificates": ["one", "three"]}}},
    })  # fmt: skip
    assert shown(lab, "three.example") == der(three)
    assert shown(lab, "two.example") == der(ONE)
    assert sorted(lab.sh("ls /run/sysvm/haproxy/certificates").split()) == ["one.pem", "three.pem"]


def test_tls_is_passed_through(lab: Lab, _web: None, tmp_path: Path) -> None:
    own = identity("inside.example", issuer=CA)
    (tmp_path / "own.pem").write_text(own.certificate + own.key)
    using = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    using.load_cert_chain(tmp_path / "own.pem")
    listening = lab["vm1"].socket()
    listening.settimeout(None)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("", 8445))
    listening.listen(8)

    def serve() -> None:
        accepted, _ = listening.accept()
        with using.wrap_socket(accepted, server_side=True) as connected:
            connected.sendall(b"from inside")

    threading.Thread(target=serve, daemon=True).start()
    changed = wanted()
    servers = {"vm1": {"address": VM1, "port": 8445}}
    changed["load_balancers"]["passed"] = balancer(PUBLIC, PASSED, servers)
    lab.put(changed)
    with listening, connect(lab, "inside.example", port=PASSED) as connected:
        assert connected.recv(100) == b"from inside"
        assert connected.getpeercert(binary_form=True) == der(own)


def test_its_key_is_in_no_log_no_plan_and_no_answer(encrypted: Lab) -> None:
    lab = encrypted
    secret = ONE.key.splitlines()[1]
    plan = lab.request("POST", "/v1/plan", {**document(), "generation": lab.status()["generation"] + 1})
    texts = [
        plan.text,
        lab.request("GET", "/v1/config").text,
        lab.request("GET", "/metrics").text,
        lab.sh("journalctl --no-pager; cat /proc/[0-9]*/cmdline 2>/dev/null || true").replace("\0", " "),
    ]
    broken = identity("one.example", issuer=CA)
    patch = {"certificates": {"one": {**certificate(ONE), "chain": None, "certificate": broken.certificate}}}
    refused = lab.patch(patch, status=422)
    (error,) = refused["errors"]
    assert error["pointer"] == "/certificates/one/key"
    assert error["detail"] == "Certificate one: its key is that of another certificate"
    texts.append(json.dumps(refused))
    for text in texts:
        assert text and secret not in text
    modes = lab.sh("stat -c %a /run/sysvm/haproxy/certificates/one.pem /run/sysvm/haproxy/0.cfg")
    assert modes.split() == ["600", "600"]
    assert 'sysvm_certificate_end_seconds{certificate="one"}' in texts[2]


def test_what_a_key_may_not_be(encrypted: Lab) -> None:
    lab = encrypted
    before = lab.get("/v1/config")
    late = identity("late.example", issuer=CA, days=(-30, -1))
    for values, pointer, sentence in (
        ({**certificate(TWO), "key": TWO.encrypted()}, "key", "its key is encrypted"),
        (certificate(TWO, CA), "chain", "isn't issued by 'CN=Test authority'"),
        (certificate(late), "certificate", "its time has ended"),
    ):
        refused = lab.patch({"certificates": {"two": {"chain": None, **values}}}, status=422)
        ((at, said),) = [(error["pointer"], error["detail"]) for error in refused["errors"]]
        assert at == f"/certificates/two/{pointer}"
        assert sentence in said
    assert lab.get("/v1/config") == before
    assert shown(lab, "two.example") == der(TWO)
