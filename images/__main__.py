"""Build trees: `python -m images [ROLE...]` prints the path of each."""

import sys

import click

from images.recipe import ROLES
from images.tree import build


@click.command()
@click.argument("roles", nargs=-1, type=click.Choice(sorted(ROLES)))
def main(roles: tuple[str, ...]) -> None:
    """Build the trees of ROLES, or of all of them."""
    for role in roles or sorted(ROLES):
        try:
            click.echo(build(role, progress=lambda step: click.echo(step, err=True)))
        except RuntimeError as error:
            sys.exit(str(error))


main()
