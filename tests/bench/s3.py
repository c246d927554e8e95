"""S3: requests and bytes per second next to nginx and other gateways; memory; listing."""

import hashlib
import hmac
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import boto3

from secstorage.s3.store import objects
from secstorage.s3.store.bucket import Options, Store
from secstorage.s3.store.record import Record
from tests.bench import s3_peers
from tests.bench.benchmark import Say, table
from tests.bench.s3_peers import Server

TITLE = "S3 over a directory"
KIB, MIB, GIB = 1024, 1024**2, 1024**3
SIZES = {"4 KiB": (4 * KIB, 16), "1 MiB": (MIB, 8), "64 MiB": (64 * MIB, 2)}
"""Bytes, and connections at once."""
SECONDS = 3
ROUNDS = 3
LISTED = 10_000


def run(say: Say) -> str:
    servers: dict[str, Callable[[Path], AbstractContextManager[Server]]] = {
        "this": s3_peers.ours,
        "nginx": s3_peers.nginx,
        "moto": s3_peers.moto,
    }
    if shutil.which("npm"):
        servers["s3rver"] = s3_peers.s3rver
    figures: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        bodies = {
            name: _body(Path(scratch) / name.replace(" ", ""), size) for name, (size, _) in SIZES.items()
        }
        large = _body(Path(scratch) / "1GiB", GIB)
        for name, start in servers.items():
            with start(Path(scratch) / name) as server:
                say(name)
                if name != "nginx":
                    _curl(server, "PUT", "/bkt", "/dev/null")
                for size, (_, connections) in SIZES.items():
                    key = f"/bkt/{bodies[size].name}"
                    _curl(server, "PUT", key, bodies[size])
                    figures[name, f"GET {size}"] = _wrk(server, "GET", key, connections)
                    # moto answers some of several at once with 500.
                    alone = 1 if name == "moto" else connections
                    figures[name, f"PUT {size}"] = _wrk(server, "PUT", key + "p", alone, bodies[size])
                if name != "moto":
                    streams = [_curl(server, "PUT", "/bkt/1g", large) for _ in range(ROUNDS)]
                    figures[name, "PUT 1 GiB"] = max(streams) / MIB
                    streams = [_curl(server, "GET", "/bkt/1g", None) for _ in range(ROUNDS)]
                    figures[name, "GET 1 GiB"] = max(streams) / MIB
            subprocess.run(["rm", "-rf", Path(scratch) / name], check=True)
    rows = []
    for what in dict.fromkeys(what for _, what in figures):
        found = [figures.get((name, what)) for name in servers]
        other = max(figures.get((name, what), 0.0) for name in ("s3rver", "moto"))
        ratios = [
            figures["this", what] / figures["nginx", what],
            figures["this", what] / other if other else None,
        ]
        cells = ["" if each is None else f"{each:,.0f}" if each >= 20 else f"{each:.1f}" for each in found]
        rows.append([what, *cells, *("" if each is None else f"{each:.0%}" for each in ratios)])
    say("10 GiB")
    memory = _memory()
    say("listing")
    at = ", ".join(f"{count} connections at {size}" for size, (_, count) in SIZES.items())
    return f"""Objects in memory (tmpfs), clients on the same machine. Requests per second by wrk, with \
{at}, {SECONDS} s each; MiB per second of 1 GiB by curl, the best of {ROUNDS}. Here signatures are checked \
and MD5s made; nginx only moves bytes; moto checks no signature, keeps objects \
in its own memory, and is sent one PUT at a time.

{table(["", *servers, "of nginx", "of the fastest other"], rows)}

A worker's largest resident memory, one after the other: {memory}

{_listing()}"""


def _body(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        for _ in range(max(size // MIB, 1)):
            file.write(os.urandom(min(size, MIB)))
    return path


def _signed(server: Server, method: str, path: str) -> list[str]:
    """Options of curl and wrk: a signature is good for fifteen minutes."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{now[:8]}/us-east-1/s3/aws4_request"
    own = {"host": server.host, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": now}
    lines = [f"{name}:{value}" for name, value in own.items()]
    canonical = "\n".join([method, path, "", *lines, "", ";".join(own), "UNSIGNED-PAYLOAD"])
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4" + server.secret.encode()
    for word in (*scope.split("/"), text):
        key = hmac.new(key, word.encode(), "sha256").digest()
    own["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={server.key}/{scope}, "
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={key.hex()}"
    )
    del own["host"]
    return [word for name, value in own.items() for word in ("-H", f"{name}: {value}")]


def _wrk(server: Server, method: str, path: str, connections: int, body: Path | None = None) -> float:
    argv = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{SECONDS}s",
        "--timeout",
        "60s",
        *_signed(server, method, path),
    ]
    if body is not None:
        script = body.with_suffix(".lua")
        script.write_text(
            f'local f = io.open("{body}", "rb") local b = f:read("*a") f:close()\n'
            'wrk.method = "PUT" wrk.body = b'
        )
        argv += ["-s", str(script)]
    output = subprocess.run(
        [*argv, f"http://{server.host}{path}"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"Requests/sec:\s+([0-9.]+)", output)
    if found is None or "Non-2xx" in output:
        raise RuntimeError(f"{server.name} {method} {path}:\n{output}")
    return float(found[1])


def _curl(server: Server, method: str, path: str, body: Path | str | None) -> float:
    """Bytes per second."""
    argv = ["curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{speed_download} %{speed_upload}"]
    argv += _signed(server, method, path)
    if body is not None:
        argv += ["-T", str(body), "-H", "Expect:"]
    done = subprocess.run([*argv, f"http://{server.host}{path}"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{server.name} {method} {path}: {done.stderr}")
    return max((float(word) for word in done.stdout.split()), default=0.0)


def _memory() -> str:
    # On a disk: 10 GiB needn't fit into memory.
    with (
        tempfile.TemporaryDirectory() as scratch,
        s3_peers.ours(Path(scratch) / "this", sync=False) as server,
    ):
        _curl(server, "PUT", "/bkt", "/dev/null")
        before = server.most_memory()
        put = [
            "curl",
            "-sS",
            "--fail",
            "-T",
            "-",
            *_signed(server, "PUT", "/bkt/10g"),
            f"http://{server.host}/bkt/10g",
        ]
        with subprocess.Popen(["head", "-c", str(10 * GIB), "/dev/zero"], stdout=subprocess.PIPE) as zeros:
            subprocess.run(put, stdin=zeros.stdout, check=True)
        after_put = server.most_memory()
        _curl(server, "GET", "/bkt/10g", None)
        after = server.most_memory()
        return f"{before:.0f} MiB at rest, {after_put:.0f} after a PUT of 10 GiB, {after:.0f} after its GET."


def _listing() -> str:
    with (
        tempfile.TemporaryDirectory() as scratch,
        s3_peers.ours(Path(scratch) / "this", sync=False) as server,
    ):
        _curl(server, "PUT", "/bkt", "/dev/null")
        bucket = Store(str(Path(scratch) / "this" / "root"), Options(sync=False)).bucket("bkt")
        for number in range(LISTED):
            with objects.new(bucket) as (file, path):
                objects.put(bucket, f"{number % 10}/{number:06}", file, path, Record(etag="0" * 32))
        client = boto3.client(
            "s3", endpoint_url=f"http://{server.host}", aws_access_key_id="AK", aws_secret_access_key="SK",
            region_name="us-east-1",
        )  # fmt: skip

        def pages() -> int:
            found = client.get_paginator("list_objects_v2").paginate(Bucket="bkt")
            return sum(len(page["Contents"]) for page in found)

        if pages() != LISTED:
            raise RuntimeError("a listing isn't whole")
        whole = statistics.median(_seconds(pages) for _ in range(ROUNDS))
        prefixes = statistics.median(
            _seconds(lambda: client.list_objects_v2(Bucket="bkt", Delimiter="/")) for _ in range(ROUNDS)
        )
    return (
        f"{LISTED:,} objects are listed in {whole * 1000:,.0f} ms by boto3 (ten pages, parsing "
        f"included), the ten prefixes they are in in {prefixes * 1000:,.0f} ms."
    )


def _seconds(what: Callable[[], object]) -> float:
    begin = time.monotonic()
    what()
    return time.monotonic() - begin
