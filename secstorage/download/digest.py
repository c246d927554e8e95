"""Checksums of a file while it grows."""

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PIECE = 1 << 20


class Follower:
    """Reads what is there of a file, from its beginning on and right behind who writes it: from memory,
    mostly. What is counted is what stands in the file, not what was meant to."""

    def __init__(self, path: Path, algorithms: Iterable[str]) -> None:
        self._path = path
        self._digests = {name: hashlib.new(name, usedforsecurity=False) for name in set(algorithms)}
        self._condition = threading.Condition()
        self._until = 0
        self._ended = False
        self._error: OSError | None = None

    def reached(self, frontier: int) -> None:
        """Up to here it may read."""
        with self._condition:
            self._until = frontier
            self._condition.notify()

    def results(self) -> dict[str, str]:
        """In hexadecimal, once it has ended. Raises OSError."""
        if self._error is not None:
            raise self._error
        return {name: digest.hexdigest() for name, digest in self._digests.items()}

    @contextmanager
    def following(self) -> Iterator[None]:
        """Until the end, where all that was reached has been read; after an exception it ends at once."""
        thread = threading.Thread(target=self._follow, name="digest")
        thread.start()
        try:
            yield
        except BaseException:
            with self._condition:
                self._until = 0
            raise
        finally:
            with self._condition:
                self._ended = True
                self._condition.notify()
            thread.join()

    def _follow(self) -> None:
        buffer = memoryview(bytearray(_PIECE))
        at = 0
        try:
            with self._path.open("rb", buffering=0) as file:
                while True:
                    with self._condition:
                        while not self._ended and self._until <= at:
                            self._condition.wait()
                        until = self._until
                        if self._ended and until <= at:
                            return
                    while at < until:
                        count = file.readinto(buffer[: min(_PIECE, until - at)])
                        if not count:
                            raise OSError(f"the file ends at {at}")
                        for digest in self._digests.values():
                            digest.update(buffer[:count])
                        at += count
                        if self._until < at:
                            return
        except OSError as error:
            self._error = error


def digest(path: Path, algorithm: str, *, told: Callable[[int], None] = lambda count: None) -> str:
    """Of a whole file. `told` is how many bytes were read by now, and raises what ends the job."""
    found = hashlib.new(algorithm, usedforsecurity=False)
    buffer = memoryview(bytearray(_PIECE))
    at = 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            found.update(buffer[:count])
            at += count
            told(at)
    return found.hexdigest()
