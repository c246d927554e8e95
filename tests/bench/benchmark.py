"""What every benchmark is: a module with a title, and a function that measures and tells."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

Say = Callable[[str], None]
"""Told what is being measured, for people who wait."""


class Benchmark(Protocol):
    TITLE: str

    def run(self, say: Say) -> str:
        """Measure everything in one run; the section's text, in Markdown."""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table: the first column says what, the others are figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def milliseconds(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def times(slow: float, quick: float) -> str:
    """How many times one takes what the other does."""
    ratio = slow / quick
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.1f}x"
