"""The `sysvm` command."""

import json
from pathlib import Path

import click

from appliance import direct, machines, rendering, roles, vpn
from appliance.devcloud.commands import devcloud
from appliance.document_schema import document_schema
from appliance.documents import document_argument, read
from appliance.management import asking
from appliance.management import commands as management


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sysvm")
def main() -> None:
    """System VMs for private clouds: a router that is a JSON document."""


@main.command()
@document_argument
def validate(document: Path) -> None:
    """Say whether DOCUMENT (a file, or - for standard input) is valid, and if not, where."""
    checked = read(document)
    click.echo(f"{document}: a valid document of {checked.role} {checked.name}")


@main.command()
@document_argument
def render(document: Path) -> None:
    """Print the machine state that DOCUMENT means. Needs no root and no appliance."""
    for piece in rendering.pieces(roles.resources(read(document))):
        click.echo(piece)


@main.command()
@click.argument("role", default="router", type=click.Choice(sorted(roles.ROLES)))
def schema(role: str) -> None:
    """Print the JSON Schema of a ROLE's documents."""
    click.echo(json.dumps(document_schema(roles.document_model(role)), indent=2))


main.add_command(direct.plan)
main.add_command(direct.apply)
main.add_command(devcloud)
main.add_command(machines.machine)
main.add_command(machines.upgrade)
main.add_command(management.serve)
main.add_command(management.appliance)
main.add_command(vpn.vpn)
main.add_command(asking.explain)
main.add_command(asking.capture)
main.add_command(asking.diagnose)
main.add_command(asking.diagnostics)

if __name__ == "__main__":
    main()
