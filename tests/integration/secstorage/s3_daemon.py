"""The S3 daemon as a process, and clients of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI+secret"
READER, READER_SECRET = "AKIDREADER", "reader-secret"
PATIENCE_SECONDS = 60.0


def until(what: Callable[[], Any], *, seconds: float = PATIENCE_SECONDS) -> Any:
    """What it gives once that is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@dataclass
class Daemon:
    process: subprocess.Popen[bytes]
    configuration: Path
    root: Path
    port: int
    errors: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def attributes(self) -> bool:
        return bool(json.loads(self.configuration.read_text()).get("attributes", True))

    def client(self, key: str = KEY, secret: str = SECRET, **more: Any) -> Any:
        return client(self.url, key, secret, **more)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)

    def reload(self, **changes: Any) -> None:
        value = json.loads(self.configuration.read_text()) | changes
        self.configuration.write_text(json.dumps(value))
        self.process.send_signal(signal.SIGHUP)

    def workers(self) -> set[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return {int(word) for word in found.split()}


def client(url: str, key: str, secret: str, *, verify: object = None, **more: Any) -> Any:
    config = Config(
        retries={"max_attempts": 0},
        s3={"addressing_style": "path"},
        connect_timeout=PATIENCE_SECONDS,
        read_timeout=PATIENCE_SECONDS,
        **more,
    )
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=config,
        verify=verify,
    )


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(b"GET /-/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            return sock.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


@contextmanager
def running(directory: Path, *, root: Path | None = None, **changes: Any) -> Iterator[Daemon]:
    """A daemon in front of `root`, or of a directory of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    root = root or directory / "root"
    root.mkdir(exist_ok=True)
    port = free_port()
    value = {
        "root": str(root),
        "listen": [{"address": "127.0.0.1", "port": port}],
        "credentials": {
            KEY: {"secret": SECRET},
            READER: {"secret": READER_SECRET, "rights": {"*": "read"}},
        },
        "limits": {"workers": 2},
    }
    configuration = directory / "s3.json"
    configuration.write_text(json.dumps(value | changes))
    errors = directory / "errors"
    with errors.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "secstorage.s3", str(configuration)],
            stderr=file,
            cwd=Path(__file__).parents[3],
        )
    daemon = Daemon(process, configuration, root, port, errors)
    try:
        until(lambda: _answers(port) or process.poll() is not None)
        assert process.poll() is None, errors.read_text()
        yield daemon
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE_SECONDS)
    assert "Traceback" not in errors.read_text(), errors.read_text()


@contextmanager
def refused(code: str) -> Iterator[ClientError]:
    """S3 refuses with this code, or this status."""
    try:
        yield ClientError({}, "")
    except ClientError as error:
        found = error.response["Error"]["Code"], str(error.response["ResponseMetadata"]["HTTPStatusCode"])
        assert code in found, found
    else:
        raise AssertionError(f"nothing was refused; {code} was expected")


def files(root: Path) -> set[str]:
    """What other programs see: files and no directories, without what is our own."""
    found = set()
    for where, directories, names in os.walk(root):
        directories[:] = [name for name in directories if not name.startswith(".")]
        found |= {str((Path(where) / name).relative_to(root)) for name in names}
    return found
