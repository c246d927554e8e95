"""Steps of a build: what takes time is announced, and what fails is named and leaves its log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

Done = Callable[[str, float], None]


@dataclass
class Steps:
    log: Path
    """Written when a step fails, with the whole of what its tool said."""
    started: Callable[[str], None] = lambda step: None
    done: Done = lambda step, seconds: None

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Raises RuntimeError, which names the step, for whatever fails in it."""
        self.started(step)
        begun = time.monotonic()
        try:
            yield
        except (RuntimeError, OSError) as error:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self.log.write_text(f"{step}\n\n{error}\n")
            last = str(error).strip().splitlines()[-1:]
            raise RuntimeError(f"{step}: {''.join(last)}\nAll it said is in {self.log}") from error
        self.done(step, time.monotonic() - begun)
