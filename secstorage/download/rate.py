"""How fast bytes may come, and how fast they do."""

import threading
import time
from collections import deque
from collections.abc import Callable


class Bucket:
    """Bytes a second for all who take from it together; None: as many as they like."""

    def __init__(self, rate: int | None, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._rate = rate
        self._next = now()

    def change(self, rate: int | None) -> None:
        with self._lock:
            self._rate = rate

    def wait(self, count: int) -> float:
        """For how many seconds whoever has taken `count` bytes has to wait now."""
        with self._lock:
            if self._rate is None:
                return 0.0
            # What nobody took in the last half second is lost.
            self._next = max(self._next, self._now() - 0.5) + count / self._rate
            return max(0.0, self._next - self._now())


class Speed:
    """Bytes a second over the last `seconds`."""

    def __init__(self, *, seconds: float = 10.0, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seconds = seconds
        self._lock = threading.Lock()
        self._seen: deque[tuple[float, int]] = deque([(now(), 0)])
        self._total = 0

    def add(self, count: int) -> None:
        with self._lock:
            self._total += count
            now = self._now()
            if now - self._seen[-1][0] > 0.2:
                self._seen.append((now, self._total))
            while len(self._seen) > 2 and now - self._seen[1][0] > self._seconds:
                self._seen.popleft()

    def per_second(self) -> float:
        with self._lock:
            begun, before = self._seen[0]
            elapsed = self._now() - begun
            return (self._total - before) / elapsed if elapsed > 0 else 0.0
