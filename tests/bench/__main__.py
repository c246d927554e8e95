"""Run benchmarks, all or those named: `python -m tests.bench [NAME...]`. Needs root."""

import sys
from importlib import import_module
from pathlib import Path
from typing import cast

import click
from rich.console import Console
from rich.markdown import Markdown

from images.tree import build
from tests.bench import report
from tests.bench.benchmark import Benchmark

NAMES = (
    "acl",
    "apply",
    "boot",
    "builds",
    "chains",
    "dhcp",
    "dns",
    "failover",
    "forwarding",
    "idle",
    "load_balancing",
    "ipsec",
    "machine",
    "memory",
    "metadata",
    "peers",
    "sizes",
    "wireguard",
)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
def main(names: tuple[str, ...]) -> None:
    """Measure, show, and write docs/benchmarks.md."""
    console = Console()
    for name in names or NAMES:
        benchmark = cast(Benchmark, import_module(f"tests.bench.{name}"))
        with console.status(name) as status:

            def say(what: str, name: str = name, status: object = status) -> None:
                status.update(f"{name}: {what}")  # type: ignore[attr-defined]
                if not console.is_terminal:
                    print(f"{name}: {what}", file=sys.stderr, flush=True)

            text = benchmark.run(say)
        report.write(name, benchmark.TITLE, text, tree=Path(build("router")))
        console.print(Markdown(f"## {benchmark.TITLE}\n\n{text}"))


if __name__ == "__main__":
    main()
