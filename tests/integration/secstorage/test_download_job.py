"""Downloads of servers that behave, and of such that don't: what is listed is whole, what isn't whole isn't
listed, and why is said."""

import socket
import ssl
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from secstorage.storage_server.scheduler import Scheduler
from tests.unit.router.pem import identity
from tests.unit.secstorage.storage import (
    DISK,
    Web,
    configuration,
    downloaded,
    ended,
    running,
    serving,
    sha256,
    submitted,
    until,
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody here needs a minute to be well again."""
    monkeypatch.setattr("secstorage.download.transfer._MOST_WAIT", 0.05)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Scheduler]:
    with running(configuration(tmp_path)) as found:
        yield found


@pytest.fixture
def web() -> Iterator[Web]:
    with serving(Web()) as found:
        yield found


def listed(scheduler: Scheduler) -> list[dict[str, Any]]:
    return list(scheduler.stores()["one"].entries.values())


def nothing_is_left(scheduler: Scheduler, tmp_path: Path) -> None:
    assert listed(scheduler) == []
    assert list((tmp_path / "one/template").iterdir()) == []


def test_it_is_there_with_its_properties(scheduler: Scheduler, web: Web, tmp_path: Path) -> None:
    job = downloaded(scheduler, web.url, checksum=sha256(DISK), description="a disk")
    assert job["state"] == "done", job
    [entry] = listed(scheduler)
    assert entry["format"] == "raw" and entry["sha256"] == sha256(DISK) and entry["description"] == "a disk"
    assert entry["size"] == entry["virtual_bytes"] == len(DISK)
    assert (tmp_path / "one/template/t/disk.raw").read_bytes() == DISK
    assert list((tmp_path / "one/.sysvm/jobs").iterdir()) == []


def test_it_is_the_same_job_by_its_id(scheduler: Scheduler, web: Web) -> None:
    downloaded(scheduler, web.url)
    assert downloaded(scheduler, web.url)["state"] == "done"
    with pytest.raises(Exception, match="another job"):
        downloaded(scheduler, web.url + "?other")


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_a_wrong_checksum(scheduler: Scheduler, web: Web, tmp_path: Path, algorithm: str) -> None:
    length = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}[algorithm]
    job = downloaded(scheduler, web.url, checksum="0" * length)
    assert job["error"]["code"] == "checksum" and algorithm in job["error"]["detail"]
    nothing_is_left(scheduler, tmp_path)


@pytest.mark.parametrize("ranges", [True, False])
def test_broken_off_in_the_middle(scheduler: Scheduler, web: Web, ranges: bool) -> None:
    web.ranges = ranges

    def half(to: BaseHTTPRequestHandler, number: int) -> None:
        if number == 2 or (number == 1 and not ranges):
            web.begin(to)
            asked = web.asked(to)
            to.wfile.write(asked[: len(asked) // 2])
        else:
            web.well(to, number)

    web.answer = half
    assert downloaded(scheduler, web.url, checksum=sha256(DISK))["state"] == "done"
    if ranges:
        asked = [headers["Range"] for _, headers in web.requests if headers.get("Range") != "bytes=0-0"]
        begun = [int(each.removeprefix("bytes=").partition("-")[0]) for each in asked]
        assert begun[0] == 0 and begun[1] >= len(DISK) // 2, "what had come wasn't asked for again"


def test_always_broken_off(scheduler: Scheduler, web: Web, tmp_path: Path) -> None:
    def lying(to: BaseHTTPRequestHandler, number: int) -> None:
        to.send_response(200)
        to.send_header("Content-Length", str(len(DISK) + 1))
        to.end_headers()
        to.wfile.write(DISK)

    web.answer = lying
    job = downloaded(scheduler, web.url)
    assert (
        job["error"]["code"] == "download-failed" and "1 bytes were still to come" in job["error"]["detail"]
    )
    nothing_is_left(scheduler, tmp_path)


def test_a_length_that_is_too_short(scheduler: Scheduler, web: Web, tmp_path: Path) -> None:
    """Without a checksum nobody would know, but that a disk has whole sectors."""

    def short(to: BaseHTTPRequestHandler, number: int) -> None:
        to.send_response(200)
        to.send_header("Content-Length", str(len(DISK) - 100))
        to.end_headers()
        to.wfile.write(DISK)

    web.answer = short
    assert downloaded(scheduler, web.url)["error"]["code"] == "refused-file"
    nothing_is_left(scheduler, tmp_path)


@pytest.mark.parametrize("status", [404, 403, 410])
def test_refused_by_the_server(scheduler: Scheduler, web: Web, tmp_path: Path, status: int) -> None:
    web.answer = lambda to, number: to.send_error(status)
    error = downloaded(scheduler, web.url)["error"]
    assert error["code"] == "refused-by-server" and str(status) in error["detail"]
    assert len(web.requests) == 1, "it is no use to ask again"
    nothing_is_left(scheduler, tmp_path)


def test_errors_that_pass(scheduler: Scheduler, web: Web) -> None:
    web.answer = lambda to, number: to.send_error(503) if number in (1, 3) else web.well(to, number)
    assert downloaded(scheduler, web.url)["state"] == "done"


def test_a_file_that_changes_meanwhile(scheduler: Scheduler, web: Web, tmp_path: Path) -> None:
    other = DISK[:512] + bytes(len(DISK) - 512)

    def changing(to: BaseHTTPRequestHandler, number: int) -> None:
        if number == 2:
            web.begin(to)
            to.wfile.write(DISK[:1_000_000])
            web.content, web.etag = other, '"two"'
        else:
            web.well(to, number)

    web.answer = changing
    assert downloaded(scheduler, web.url)["state"] == "done"
    assert (tmp_path / "one/template/t/disk.raw").read_bytes() == other, "no mixture of two"


def test_a_mirror_gives_what_the_first_doesnt(scheduler: Scheduler, web: Web) -> None:
    with serving(Web()) as broken:
        broken.answer = lambda to, number: to.send_error(404)
        assert downloaded(scheduler, broken.url, urls=[broken.url, web.url])["state"] == "done"


def test_ranges_of_two_mirrors_at_once(scheduler: Scheduler, web: Web, tmp_path: Path) -> None:
    web.content = DISK * 5
    with serving(Web(content=web.content, etag='"another server"')) as second:
        job = downloaded(scheduler, web.url, urls=[web.url, second.url], checksum=sha256(web.content))
        assert job["state"] == "done", job
        assert all(len(each.requests) > 1 for each in (web, second))
    assert (tmp_path / "one/template/t/disk.raw").read_bytes() == web.content


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest/meta-data/", "http://[::ffff:169.254.169.254]/", "http://10.0.0.1/",
     "http://0x7f.1:25/", "http://[fe80::1]/", "http://[64:ff9b::a00:1]/"],
)  # fmt: skip
def test_redirects_to_special_addresses(scheduler: Scheduler, web: Web, target: str) -> None:
    def elsewhere(to: BaseHTTPRequestHandler, number: int) -> None:
        to.send_response(302)
        to.send_header("Location", target)
        to.send_header("Content-Length", "0")
        to.end_headers()

    web.answer = elsewhere
    assert downloaded(scheduler, web.url)["error"]["code"] == "refused-address"


def test_redirects_in_a_circle(scheduler: Scheduler, web: Web) -> None:
    def circle(to: BaseHTTPRequestHandler, number: int) -> None:
        to.send_response(307)
        to.send_header("Location", web.url)
        to.send_header("Content-Length", "0")
        to.end_headers()

    web.answer = circle
    error = downloaded(scheduler, web.url)["error"]
    assert error["code"] == "refused-by-server" and "redirects" in error["detail"]
    assert len(web.requests) == 6


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "http://user@host/", "gopher://x/", "http://\x7f/", ""]
)
def test_redirects_to_nowhere(scheduler: Scheduler, web: Web, location: str) -> None:
    def elsewhere(to: BaseHTTPRequestHandler, number: int) -> None:
        to.send_response(302)
        to.send_header("Location", location)
        to.send_header("Content-Length", "0")
        to.end_headers()

    web.answer = elsewhere
    assert downloaded(scheduler, web.url)["error"]["code"] == "refused-by-server"


def test_a_server_that_trickles(tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secstorage.download.transfer._SLOW_SECONDS", 0.3)

    def trickle(to: BaseHTTPRequestHandler, number: int) -> None:
        web.begin(to)
        for _ in range(1000):
            to.wfile.write(b"x")
            to.wfile.flush()
            time.sleep(0.02)

    web.answer, web.ranges = trickle, False
    limits = {"attempts": 1, "least_bytes_per_second": 100_000}
    with running(configuration(tmp_path, limits=limits)) as scheduler:
        error = downloaded(scheduler, web.url)["error"]
    assert error["code"] == "download-failed" and "bytes a second" in error["detail"]


def test_cancelled_while_nobody_answers(scheduler: Scheduler, web: Web, tmp_path: Path) -> None:
    web.answer = lambda to, number: time.sleep(30)
    submitted(scheduler, "j", kind="download", entry={"kind": "template", "id": "t"}, urls=[web.url])
    until(lambda: web.requests)
    begun = time.monotonic()
    scheduler.cancel("j")
    assert ended(scheduler, "j")["state"] == "cancelled"
    assert time.monotonic() - begun < 20, "it didn't wait for the server"
    nothing_is_left(scheduler, tmp_path)
    until(lambda: not (tmp_path / "one/.sysvm/jobs/j").exists())


def test_a_rate(scheduler: Scheduler, web: Web) -> None:
    begun = time.monotonic()
    assert downloaded(scheduler, web.url, bytes_per_second=len(DISK))["state"] == "done"
    assert time.monotonic() - begun > 0.4, "half a second's worth comes at once"


def test_credentials_go_to_their_host_only(tmp_path: Path, web: Web) -> None:
    login = {"user": "me", "password": "secret", "hosts": ["127.0.0.1"]}
    with serving(Web()) as other:

        def elsewhere(to: BaseHTTPRequestHandler, number: int) -> None:
            to.send_response(302)
            to.send_header("Location", f"http://127.0.0.2:{other.port}/")
            to.send_header("Content-Length", "0")
            to.end_headers()

        web.answer = elsewhere
        other.answer = lambda to, number: to.send_error(404)
        # 127.0.0.2 isn't served on: whoever is asked there would have been told nothing either.
        with running(configuration(tmp_path, credentials={"mine": login})) as scheduler:
            downloaded(scheduler, web.url, credential="mine")
            assert web.requests[0][1]["Authorization"].startswith("Basic ")
            assert all("Authorization" not in headers for _, headers in other.requests)
            assert "secret" not in str(scheduler.jobs())


def test_a_proxy(tmp_path: Path, web: Web) -> None:
    """It is asked for the URL as a whole; literal addresses are refused all the same."""
    proxy = {"host": "127.0.0.1", "port": web.port, "credential": "mine"}
    logins = {"mine": {"user": "me", "password": "secret", "hosts": ["127.0.0.1"]}}
    with running(configuration(tmp_path, proxy=proxy, credentials=logins)) as scheduler:
        assert downloaded(scheduler, "http://images.example:8080/disk")["state"] == "done"
        assert web.requests[0][0] == "http://images.example:8080/disk"
        assert web.requests[0][1]["Proxy-Authorization"].startswith("Basic ")
        submitted(
            scheduler,
            "k",
            kind="download",
            entry={"kind": "template", "id": "u"},
            urls=["http://10.1.1.1:8080/"],
        )
        assert ended(scheduler, "k")["error"]["code"] == "refused-address"


def test_https_by_an_authority_of_the_document(tmp_path: Path) -> None:
    root = identity("our authority", authority=True)
    own = identity("localhost", issuer=root)
    (tmp_path / "pem").write_text(own.certificate + own.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    listening = socket.create_server(("127.0.0.1", 0))
    local = {"allowed_networks": ["127.0.0.0/8", "::1/128"]}
    with serving(Web(), context.wrap_socket(listening, server_side=True)) as web:
        url = f"https://localhost:{web.port}/disk"
        for place, authorities in (("trusted", [root.certificate]), ("not", [])):
            (tmp_path / place).mkdir()
            with running(configuration(tmp_path / place, authorities=authorities, **local)) as scheduler:
                job = downloaded(scheduler, url)
                if authorities:
                    assert job["state"] == "done", job
                else:
                    assert "issuer certificate" in job["error"]["detail"]
                submitted(scheduler, "k", kind="download", entry={"kind": "template", "id": "u"},
                          urls=[url.replace("localhost", "127.0.0.1")])  # fmt: skip
                assert ended(scheduler, "k")["error"]["code"] == "refused-by-server", (
                    "it isn't who was asked"
                )


def test_a_name_that_leads_elsewhere_a_moment_later(
    scheduler: Scheduler, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: what was checked is what is connected to, and each look-up is checked."""
    answers = iter(["127.0.0.1", *["169.254.169.254"] * 100])
    tried: list[str] = []
    connect = socket.socket.connect

    def look_up(host: str, *rest: Any, **more: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), 0))]

    def noted(self: socket.socket, address: Any) -> None:
        tried.append(address[0])
        connect(self, address)

    monkeypatch.setattr("secstorage.download.destination.socket.getaddrinfo", look_up)
    monkeypatch.setattr("socket.socket.connect", noted)
    job = downloaded(scheduler, f"http://rebinding.example:{web.port}/disk")
    assert job["error"]["code"] == "refused-address"
    assert tried and set(tried) == {"127.0.0.1"}


def test_what_is_nothing_isnt_taken(scheduler: Scheduler, web: Web, tmp_path: Path) -> None:
    web.content = b"<html>Please log in</html>" * 1000
    assert downloaded(scheduler, web.url)["error"]["code"] == "refused-file"
    web.content = b""
    web.ranges = False
    nothing_is_left(scheduler, tmp_path)


def test_a_full_store(tmp_path: Path, web: Web) -> None:
    configured = configuration(tmp_path)
    configured["stores"]["one"]["reserve_bytes"] = 1 << 60
    with running(configured) as scheduler:
        assert downloaded(scheduler, web.url)["error"]["code"] == "store-full"
        nothing_is_left(scheduler, tmp_path)


def test_too_large(tmp_path: Path, web: Web) -> None:
    for number, ranges in enumerate((True, False)):
        web.ranges = ranges
        (tmp_path / str(number)).mkdir()
        with running(configuration(tmp_path / str(number), limits={"file_bytes": 1 << 20})) as scheduler:
            assert downloaded(scheduler, web.url)["error"]["code"] == "too-large"


def test_a_url_s_query_is_shown_to_nobody(scheduler: Scheduler, web: Web) -> None:
    job = downloaded(scheduler, web.url + "?signature=hidden")
    assert job["state"] == "done" and "hidden" not in str(job) + str(listed(scheduler))
