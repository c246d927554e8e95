"""Build trees and images: `python -m images trees|images [ROLE...]`."""

import sys
import time
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Column, Table

from images.image import FORMATS, SUMS, Image
from images.image import build as build_image
from images.recipe import ROLES
from images.step import Steps
from images.tree import build, default_cache

OUT = Path("dist")
roles_argument = click.argument("roles", nargs=-1, type=click.Choice(sorted(ROLES)))


@click.group()
def main() -> None:
    """What system VMs and guests run from."""


@main.command()
@roles_argument
def trees(roles: tuple[str, ...]) -> None:
    """Build the trees of ROLES, or of all of them, and print the path of each."""
    for role in roles or sorted(ROLES):
        try:
            click.echo(build(role, progress=lambda step: click.echo(step, err=True)))
        except RuntimeError as error:
            sys.exit(str(error))


@main.command()
@roles_argument
@click.option("--out", type=click.Path(path_type=Path), default=OUT, show_default=True)
@click.option(
    "--format", "formats", multiple=True, type=click.Choice(FORMATS), help="All, if none is named."
)
def images(roles: tuple[str, ...], out: Path, formats: tuple[str, ...]) -> None:
    """Build bootable disks and container images of ROLES, or of all of them, in OUT/ROLE."""
    console = Console(stderr=True)
    table = Table(
        Column("file", no_wrap=True),
        Column("size", no_wrap=True),
        "SHA-256",
        title=f"in {out}",
        box=box.SIMPLE_HEAD,
    )
    for role in roles or sorted(ROLES):
        try:
            built = shown(console, role, out=out, formats=formats or FORMATS)
        except RuntimeError as error:
            sys.exit(f"{role}: {error}")
        add_rows(table, built)
    Console().print(table)


def shown(console: Console, role: str, *, out: Path, formats: tuple[str, ...]) -> Image:
    """Build an image, and say what is being done."""
    begun = time.monotonic()
    with console.status(role) as status:
        steps = Steps(
            log=out / f"{role}.log",
            started=lambda step: status.update(f"{role}: {step}"),
            done=lambda step, seconds: console.print(f"{role}: {step} [dim]{seconds:.1f} s[/dim]"),
        )
        built = build_image(role, out=out, cache=default_cache(), steps=steps, formats=formats)
    console.print(f"{role}: {decimal(built.unpacked)} unpacked, built in {time.monotonic() - begun:.1f} s")
    return built


def add_rows(table: Table, built: Image) -> None:
    lines = (built.directory / SUMS).read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    for path in built.files:
        status = path.stat()
        size = decimal(status.st_size)
        # A raw disk is sparse.
        if status.st_blocks * 512 < status.st_size // 2:
            size = f"{decimal(status.st_blocks * 512)} of {size}"
        table.add_row(f"{built.role}/{path.name}", size, sums.get(path.name, "")[:12])


main()
