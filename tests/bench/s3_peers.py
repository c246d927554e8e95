"""The S3 daemon and others that do its work, each with its own directory; nginx, that only moves bytes."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images.tree import default_cache

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    host: str
    key: str
    secret: str
    process: "subprocess.Popen[bytes]"

    def most_memory(self) -> float:
        """The most that any of its processes ever had resident, in MiB."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        status = [
            Path(f"/proc/{number}/status").read_text() for number in [str(self.process.pid), *children]
        ]
        return max(int(text.partition("VmHWM:")[2].split()[0]) for text in status) / 1024


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def _started(name: str, argv: list[str | Path], port: int, key: str, secret: str) -> Iterator[Server]:
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > end or process.poll() is not None:
                    raise RuntimeError(f"{name} doesn't answer") from None
                time.sleep(0.05)
        yield Server(name, f"127.0.0.1:{port}", key, secret, process)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


@contextmanager
def ours(directory: Path, *, sync: bool = True) -> Iterator[Server]:
    (directory / "root").mkdir(parents=True)
    port = _port()
    configuration = {
        "root": str(directory / "root"),
        "listen": [{"address": "127.0.0.1", "port": port}],
        "credentials": {"AK": {"secret": "SK"}},
        "limits": {"object_bytes": 16 * 1024**3},
        "sync": sync,
    }
    (directory / "s3.json").write_text(json.dumps(configuration))
    argv = [sys.executable, "-m", "secstorage.s3", directory / "s3.json"]
    with _started("this", argv, port, "AK", "SK") as server:
        yield server


@contextmanager
def nginx(directory: Path) -> Iterator[Server]:
    root = directory / "root"
    (directory / "bodies").mkdir(parents=True)
    (root / "bkt").mkdir(parents=True)
    port = _port()
    (directory / "nginx.conf").write_text(
        f"""user root; daemon off; worker_processes auto; pid {directory}/pid; error_log {directory}/errors;
        events {{ worker_connections 512; }}
        http {{
            access_log off; sendfile on; tcp_nopush on; client_max_body_size 0;
            client_body_temp_path {directory}/bodies;
            server {{
                listen 127.0.0.1:{port}; root {root};
                location / {{ dav_methods PUT; create_full_put_path on; client_body_buffer_size 256k; }}
            }}
        }}"""
    )
    with _started("nginx", ["nginx", "-c", directory / "nginx.conf"], port, "AK", "SK") as server:
        yield server


@contextmanager
def s3rver(directory: Path) -> Iterator[Server]:
    """npm's, unmaintained, but it keeps files."""
    installed = default_cache() / "bench-s3rver"
    if not (installed / "whole").exists():
        shutil.rmtree(installed, ignore_errors=True)
        installed.mkdir(parents=True)
        npm = ["npm", "install", "--no-audit", "--no-fund", "s3rver@3.7.1"]
        subprocess.run(npm, cwd=installed, check=True, capture_output=True)
        (installed / "whole").touch()
    port = _port()
    argv = [installed / "node_modules/.bin/s3rver", "-d", directory, "-p", str(port), "-s"]
    directory.mkdir()
    with _started("s3rver", argv, port, "S3RVER", "S3RVER") as server:
        yield server


@contextmanager
def moto(directory: Path) -> Iterator[Server]:
    """PyPI's, for tests: all objects are in its memory."""
    installed = default_cache() / "bench-moto"
    if not (installed / "whole").exists():
        shutil.rmtree(installed, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", installed], check=True)
        pip = [installed / "bin/pip", "install", "--quiet", "moto[s3,server]"]
        subprocess.run(pip, check=True, capture_output=True)
        (installed / "whole").touch()
    port = _port()
    with _started("moto", [installed / "bin/moto_server", "-p", str(port)], port, "AK", "SK") as server:
        yield server
