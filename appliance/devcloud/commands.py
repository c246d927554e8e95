"""`sysvm devcloud`: the development cloud on the command line."""

import os
import sys
import time

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from appliance.devcloud import cloud as clouds
from appliance.devcloud.layout import NAME
from appliance.management.remote import RemoteError
from appliance.runtime.naming import cloud_prefix
from appliance.runtime.runtime import MachineError


@click.group()
@click.option("--cloud", default=NAME, show_default=True, help="Several can be up at once, by name.")
@click.pass_context
def devcloud(context: click.Context, *, cloud: str) -> None:
    """A whole cloud network on this machine: an internet, guests, and what serves them. Needs root."""
    if os.geteuid() != 0:
        raise click.ClickException("namespaces and containers need root: run it with sudo")
    try:
        cloud_prefix(cloud)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    context.obj = cloud


@devcloud.command()
@click.pass_obj
def up(cloud: str) -> None:
    """Start what isn't up, and prove that it works."""
    console = Console(stderr=True)
    began = time.monotonic()
    with console.status("starting") as spinner:

        def progress(step: str) -> None:
            spinner.update(step)
            console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {step}")

        try:
            prover = clouds.up(cloud=cloud, progress=progress)
        except (MachineError, RemoteError, RuntimeError, ValueError) as error:
            raise click.ClickException(str(error)) from error
        spinner.update("proving")
        table = Table("", "what", "seen", Column("seconds", justify="right"), box=box.SIMPLE_HEAD)
        failed = 0
        for verdict in prover.run():
            progress(f"{'ok' if verdict.ok else 'NOT'}  {verdict.name}")
            mark = "[green]ok[/]" if verdict.ok else "[red]failed[/]"
            table.add_row(mark, verdict.name, escape(verdict.seen), f"{verdict.seconds:.2f}")
            failed += not verdict.ok
    Console().print(table)
    if failed:
        raise click.ClickException(f"{failed} checks failed; `sysvm devcloud shell router` looks inside")
    console.print(
        f"[bold]{cloud}[/] is up and proven after {time.monotonic() - began:.1f} s; it goes on running. "
        "Next: sysvm devcloud status | shell NAME | down"
    )


@devcloud.command()
@click.pass_obj
def down(cloud: str) -> None:
    """Remove everything of the cloud, also after a crash."""
    try:
        removed = clouds.down(cloud=cloud)
    except (MachineError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    for thing in removed:
        click.echo(f"removed {thing}")


@devcloud.command()
@click.pass_obj
def status(cloud: str) -> None:
    """What is up."""
    table = Table("", "name", "kind", Column(overflow="fold"), box=None, header_style="dim")
    members = clouds.status(cloud=cloud)
    for member in members:
        mark = "[green]up[/]" if member.up else "[red]down[/]"
        table.add_row(mark, member.name, member.kind, member.detail)
    Console().print(table if members else f"{cloud} is not up; `sysvm devcloud up` starts it")
    sys.exit(0 if members and all(member.up for member in members) else 1)


@devcloud.command()
@click.argument("name")
@click.pass_obj
def shell(cloud: str, name: str) -> None:
    """A shell in the machine NAME, or in the network of `internet` or `mgmt`."""
    try:
        sys.exit(clouds.shell(name, cloud=cloud))
    except MachineError as error:
        raise click.ClickException(str(error)) from error
