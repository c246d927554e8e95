"""The page in a real browser: a guest's picture and keys (TigerVNC's Xvnc), a terminal, and each failure."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from images.tree import build
from tests.chromium import Chromium
from tests.integration.consoleproxy.fake_vnc import Server
from tests.integration.consoleproxy.proxy_lab import Proxy, free_port, until

pytestmark = pytest.mark.skipif(
    not all(shutil.which(program) for program in ("chromium", "Xvnc", "xterm", "xsetroot", "setxkbmap")),
    reason="there is no browser, or no X server",
)
_PASSWORD = "sunshine"
_PIXEL = """(() => {
  const canvas = document.querySelector('#screen canvas');
  if (!canvas) return '';
  return Array.from(canvas.getContext('2d').getImageData(600, 400, 1, 1).data).slice(0, 3).join();
})()"""


class Display:
    """An X display that is a VNC server with a password, as a guest's screen."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.name = f":{self.port % 10_000 + 100}"
        password = directory / "passwd"
        made = subprocess.run(["vncpasswd", "-f"], input=_PASSWORD.encode(), capture_output=True, check=True)
        password.write_bytes(made.stdout)
        self._process = subprocess.Popen(
            [
                "Xvnc",
                self.name,
                "-geometry",
                "800x600",
                "-depth",
                "24",
                "-rfbport",
                str(self.port),
                "-localhost",
                "-SecurityTypes",
                "VncAuth",
                "-PasswordFile",
                str(password),
            ],
            stderr=subprocess.DEVNULL,
        )
        until(lambda: self.run("xsetroot", "-solid", "#336699", check=False).returncode == 0)

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*argv, "-display", self.name], check=check, capture_output=True)

    def start(self, *argv: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([*argv[:1], "-display", self.name, *argv[1:]], stderr=subprocess.DEVNULL)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture(scope="module")
def display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Display]:
    display = Display(tmp_path_factory.mktemp("display"))
    yield display
    display.close()


def _echo(connection: socket.socket) -> None:
    connection.sendall(b"\x1b[1;32mGuest login:\x1b[0m ")
    while data := connection.recv(4096):
        connection.sendall(data.replace(b"\r", b"\r\n"))


@pytest.fixture(scope="module")
def proxy(display: Display, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    directory = tmp_path_factory.mktemp("proxy")
    serial = Server(_echo, unix=str(directory / "serial"))
    proxy = Proxy(directory)
    local = {"kind": "vnc", "host": "127.0.0.1"}
    proxy.config["consoles"] = {
        "vm1": local | {"title": "web server", "port": display.port, "password": _PASSWORD},
        "wrong": local | {"title": "wrong", "port": display.port, "password": "mistaken"},
        "off": local | {"title": "off", "port": free_port()},
        "serial": {"title": "database (serial)", "kind": "text", "socket": str(directory / "serial")},
    }
    # What the image has, whatever this machine's packages are.
    shared = build("consoleproxy") / "usr/share"
    proxy.start("--novnc", str(shared / "novnc"), "--xterm", str(shared / "javascript/xterm"))
    yield proxy
    proxy.stop()
    serial.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    browser = Chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def shown(browser: Chromium, proxy: Proxy) -> Iterator[Callable[[str], Chromium]]:
    """Opens the page with a ticket."""

    def show(ticket: str) -> Chromium:
        browser.open("about:blank")
        browser.open(f"http://127.0.0.1:{proxy.port}/#ticket={ticket}")
        return browser

    yield show
    browser.open("about:blank")
    for session in proxy.sessions():
        proxy.control("POST", f"/sessions/{session['id']}/kick")


def _connected(browser: Chromium) -> None:
    browser.shows("document.body && document.body.dataset.state === 'connected'")


def test_a_picture(shown: Callable[[str], Chromium], proxy: Proxy) -> None:
    browser = shown(proxy.ticket("vm1"))
    _connected(browser)
    browser.until(lambda: browser.evaluate(_PIXEL) == "51,102,153")
    assert browser.evaluate("location.hash + location.search") == ""
    assert browser.evaluate("document.title") == "web server"
    assert browser.evaluate("document.querySelector('#badge').hidden")


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ("us", "Hello, {World}! ~@#"),
        ("de", "Grüße: {x} @ß 'y' z"),
        ("fr", "éàç ù 123 @"),
        ("es", "ñandú ¿qué?"),
        ("jp", "a@[]:_\\"),
    ],
)
def test_text_arrives_in_the_guest(
    shown: Callable[[str], Chromium], proxy: Proxy, display: Display, tmp_path: Path, layout: str, text: str
) -> None:
    """Pasted as keys with a guest's layout; read back from what its terminal was told."""
    display.run("setxkbmap", layout)
    got = tmp_path / "got"
    terminal = display.start("xterm", "-u8", "-e", "sh", "-c", f"touch {got}.open; head -n 1 > {got}")
    try:
        browser = shown(proxy.ticket("vm1"))
        _connected(browser)
        until(lambda: got.with_suffix(".open").exists())
        # Keys go where the pointer is, as there is no window manager.
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=200, y=150)
        browser.evaluate(f"document.querySelector('#text').value = {text!r} + '\\n'")
        browser.click("#type")
        until(lambda: got.exists() and got.read_text().endswith("\n"))
        assert got.read_text().rstrip("\n") == text
    finally:
        terminal.kill()
        terminal.wait()
        display.run("setxkbmap", "us")


def test_who_may_only_look_sees_the_picture(shown: Callable[[str], Chromium], proxy: Proxy) -> None:
    """In the encodings that are left where the proxy must know where each message ends."""
    browser = shown(proxy.ticket("vm1", "view"))
    _connected(browser)
    browser.until(lambda: browser.evaluate(_PIXEL) == "51,102,153")
    browser.shows("!document.querySelector('#badge').hidden")


def test_a_second_viewer_looks_on(shown: Callable[[str], Chromium], proxy: Proxy) -> None:
    first = proxy.open("vm1", sub="bob")
    first.greet()
    first.view(controls=True)
    browser = shown(proxy.ticket("vm1", sub="ann"))
    _connected(browser)
    browser.shows("!document.querySelector('#badge').hidden && !document.querySelector('#ask').hidden")
    browser.click("#ask")
    first.view(asking="ann")
    first.command(do="give")
    browser.shows("document.querySelector('#badge').hidden")
    first.hang_up()


def test_a_terminal(shown: Callable[[str], Chromium], proxy: Proxy) -> None:
    browser = shown(proxy.ticket("serial"))
    _connected(browser)
    screen = "document.querySelector('#screen').innerText.replace(/\\s/g, '')"
    browser.shows(f"{screen}.includes('Guestlogin:')")
    browser.evaluate("document.querySelector('#text').value = 'whoami\\n'")
    browser.click("#type")
    browser.shows(f"{screen}.includes('whoami')")


@pytest.mark.parametrize(
    ("console", "changes", "state"),
    [
        ("vm1", {"exp": 1}, "ticket-expired"),
        ("vm1", {"aud": "other"}, "ticket-foreign"),
        ("nowhere", {}, "console-unknown"),
        ("off", {}, "guest-off"),
        ("wrong", {}, "console-refused"),
    ],
)
def test_words_for_failures(
    shown: Callable[[str], Chromium], proxy: Proxy, console: str, changes: dict[str, object], state: str
) -> None:
    browser = shown(proxy.ticket(console, **changes))
    browser.shows(f"document.body && document.body.dataset.state === '{state}'")
    assert len(browser.evaluate("document.querySelector('#words').textContent")) > 10


def test_taken_over(shown: Callable[[str], Chromium], proxy: Proxy) -> None:
    browser = shown(proxy.ticket("vm1"))
    _connected(browser)
    token = browser.evaluate("JSON.parse(sessionStorage.getItem('session')).token")
    thread = threading.Thread(target=lambda: _take(proxy, token))
    thread.start()
    browser.shows("document.body.dataset.state === 'elsewhere'")
    thread.join()


def _take(proxy: Proxy, token: str) -> None:
    from tests.integration.consoleproxy.proxy_lab import Viewer

    Viewer(proxy.port, token).greet()
