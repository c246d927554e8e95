"""A browser without a screen, driven by its DevTools protocol."""

import base64
import http.client
import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from consoleproxy.console_server import websocket

PATIENCE = 60.0


class Chromium:
    """One page. What runs in it is asked with `evaluate`."""

    def __init__(self, directory: Path, *, size: tuple[int, int] = (1024, 700)) -> None:
        self._process = subprocess.Popen(
            [
                "chromium",
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--remote-debugging-port=0",
                "--remote-allow-origins=*",
                "--no-first-run",
                "--lang=en",
                f"--user-data-dir={directory}",
                f"--window-size={size[0]},{size[1]}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port_file = directory / "DevToolsActivePort"
        self.until(port_file.exists)
        self.until(lambda: len(port_file.read_text().split()) == 2)
        port = int(port_file.read_text().split()[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", "/json/list")
        pages = json.loads(connection.getresponse().read())
        path = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._frames = websocket.Frames(masked=False, most=1 << 26)
        self._upgrade(path.partition(str(port))[2], port)
        self._number = 0
        for domain in ("Page", "Runtime"):
            self.call(f"{domain}.enable")

    def _upgrade(self, path: str, port: int) -> None:
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket"]
        lines += ["Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        lines += [f"Sec-WebSocket-Key: {websocket.new_key()}", "", ""]
        self._socket.sendall("\r\n".join(lines).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._socket.recv(1)
        assert b" 101 " in head

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of a method of the DevTools protocol."""
        self._number += 1
        value = {"id": self._number, "method": method, "params": parameters}
        self._socket.sendall(websocket.frame(websocket.TEXT, json.dumps(value).encode(), masked=True))
        text = b""
        while True:
            for _, payload in self._frames.feed(self._socket.recv(262_144)):
                text += payload
                try:
                    answer = json.loads(text)
                except ValueError:
                    continue
                text = b""
                if answer.get("id") == self._number:
                    assert "error" not in answer, answer["error"]
                    return answer["result"]

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def shows(self, expression: str) -> None:
        """Waits until it is true."""
        self.until(lambda: self.evaluate(expression), what=expression)

    def click(self, selector: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def key(self, key: str, code: str, *, modifiers: int = 0, number: int = 0) -> None:
        """A key pressed and let go. `modifiers`: Alt 1, Ctrl 2, Meta 4, Shift 8."""
        given = {"key": key, "code": code, "modifiers": modifiers, "windowsVirtualKeyCode": number}
        self.call("Input.dispatchKeyEvent", type="rawKeyDown", **given)
        self.call("Input.dispatchKeyEvent", type="keyUp", **given)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def until(self, true: Any, *, what: object = None) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < deadline, f"never: {what or true}"
            time.sleep(0.05)

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(PATIENCE)
