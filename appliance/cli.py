"""The `sysvm` command."""

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from appliance import rendering, roles
from appliance.devcloud.commands import devcloud
from appliance.document import Document
from appliance.management import commands as management
from appliance.model import RefusedError, strict_json

_STYLES = {"create": "green", "start": "green", "delete": "red", "stop": "red"}
document_argument = click.argument(
    "document", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True)
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sysvm")
def main() -> None:
    """System VMs for private clouds: a router that is a JSON document."""


@main.command()
@document_argument
def validate(document: Path) -> None:
    """Say whether DOCUMENT (a file, or - for standard input) is valid, and if not, where."""
    checked = _read(document)
    click.echo(f"{document}: a valid document of {checked.role} {checked.name}")


@main.command()
@document_argument
def render(document: Path) -> None:
    """Print the machine state that DOCUMENT means. Needs no root and no appliance."""
    for piece in rendering.pieces(roles.resources(_read(document))):
        click.echo(piece)


@main.command()
@click.argument("role", default="router")
def schema(role: str) -> None:
    """Print the JSON Schema of a ROLE's documents."""
    from appliance.agent.openapi import document_schema

    click.echo(json.dumps(document_schema(roles.document_model(role)), indent=2))


def _read(path: Path) -> Document:
    values = _values(path)
    role = values.get("role") if isinstance(values, dict) else None
    if not isinstance(role, str):
        raise click.ClickException(f"{path}: /role: a document says the role of its appliance")
    try:
        return roles.read(role, values)
    except (RefusedError, roles.UnknownRoleError) as error:
        _refuse(path, error)


def _values(path: Path) -> Any:
    try:
        text = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return strict_json(text)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise click.ClickException(f"{path}: not JSON: {error}") from error


def _refuse(path: Path, error: Exception) -> NoReturn:
    console = Console(stderr=True)
    for problem in getattr(error, "problems", []):
        console.print(
            f"{path}: [bold]{escape(problem.pointer or '/')}[/]: {escape(problem.detail)}", soft_wrap=True
        )
    if not getattr(error, "problems", []):
        console.print(f"{path}: {escape(str(error))}", soft_wrap=True)
    sys.exit(1)


def changes_table(changes: list[dict[str, str]]) -> Table:
    table = Table("action", "kind", "name", "detail", box=None, header_style="dim")
    for change in changes:
        style = _STYLES.get(change["action"], "yellow")
        action = f"[{style}]{change['action']}[/]"
        table.add_row(action, change["kind"], escape(change["name"]), escape(change["detail"]))
    return table


main.add_command(devcloud)
main.add_command(management.serve)
main.add_command(management.appliance)

if __name__ == "__main__":
    main()
