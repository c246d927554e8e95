"""Other people's programs on other people's files: confined (see `confined.py`), and ended with the job."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from secstorage.formats import confined
from secstorage.formats.format import RefusedFileError

_MEMORY = 4 << 30
"""Of addresses: qemu-img has up to 64 threads, with stacks of 8 MiB each that are mostly never touched."""
_TICK = 0.2
_MOST_OUTPUT = 1 << 20
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "1"}
Watch = Callable[[], None]
"""Asked a few times a second; raises what ends the job."""


def argv(
    program: Sequence[str],
    *,
    reads: Sequence[Path] = (),
    writes: Sequence[Path] = (),
    seconds: int,
    file_bytes: int,
) -> list[str]:
    """What runs a program confined. `seconds` of processor time; `file_bytes`: of the largest file it may
    write. Raises FileNotFoundError."""
    found = shutil.which(program[0], path=_ENVIRONMENT["PATH"])
    if found is None:
        raise FileNotFoundError(f"There is no {program[0]}")
    limits = {
        "reads": [str(path) for path in reads],
        "writes": [str(path) for path in writes],
        "memory_bytes": _MEMORY,
        "seconds": seconds,
        # What it complains about is in a file, too.
        "file_bytes": max(file_bytes, _MOST_OUTPUT),
    }
    return [sys.executable, "-IS", confined.__file__, json.dumps(limits), found, *program[1:]]


@contextmanager
def piped(program: Sequence[str], source: IO[bytes], *, seconds: int) -> Iterator[IO[bytes]]:
    """What a confined program makes of a file, to be read. Raises RefusedFileError where it fails."""
    command = argv(program, seconds=seconds, file_bytes=0)
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=source, stdout=subprocess.PIPE, stderr=errors, env=_ENVIRONMENT, bufsize=0
        )
        output = cast(IO[bytes], process.stdout)
        try:
            yield output
            output.close()
            status = process.wait()
        finally:
            output.close()
            if process.poll() is None:
                process.kill()
            process.wait()
        if status:
            errors.seek(0)
            raise RefusedFileError(f"{program[0]}: {_told(errors.read(_MOST_OUTPUT)) or f'status {status}'}")


def run(
    program: Sequence[str],
    *,
    reads: Sequence[Path],
    writes: Sequence[Path] = (),
    seconds: int,
    file_bytes: int = 0,
    watch: Watch = lambda: None,
) -> bytes:
    """What a confined program prints. Raises RefusedFileError with its own words where it fails, and what
    `watch` raises, once it has ended."""
    command = argv(program, reads=reads, writes=writes, seconds=seconds, file_bytes=file_bytes)
    # Files for its output: limited as a pipe isn't, and nothing has to read them meanwhile.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        pipe = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=_ENVIRONMENT
        )
        told = cast(IO[bytes], pipe.stdout)
        try:
            if file_bytes:
                while True:
                    try:
                        pipe.wait(_TICK)
                        break
                    except subprocess.TimeoutExpired:
                        watch()
            output.write(told.read(_MOST_OUTPUT))
            status = pipe.wait()
        finally:
            told.close()
            if pipe.poll() is None:
                pipe.kill()
            pipe.wait()
        output.seek(0)
        if status:
            errors.seek(0)
            words = _told(errors.read(_MOST_OUTPUT))
            raise RefusedFileError(f"{program[0]}: {words or f'ended with status {status}'}")
        return output.read()


def _told(errors: bytes) -> str:
    """The last line of what a program complained about; no paths of ours in it."""
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[-1].rpartition("}': ")[2][:300] if lines else ""
