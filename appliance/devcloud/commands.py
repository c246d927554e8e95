"""`sysvm devcloud`: the development cloud on the command line."""

import os
import sys
import time
from dataclasses import dataclass

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from appliance.deployment import UnhealthyError, WentBackError
from appliance.devcloud import cloud as clouds
from appliance.devcloud.layout import NAME
from appliance.management.remote import RemoteError
from appliance.runtime.naming import cloud_prefix
from appliance.runtime.runtime import MachineError


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    cloud: str
    virtual: bool


@click.group(invoke_without_command=True)
@click.option("--vm", "virtual", is_flag=True, help="With virtual machines instead of containers.")
@click.option("--cloud", default=NAME, show_default=True, help="Several can be up at once, by name.")
@click.pass_context
def devcloud(context: click.Context, *, virtual: bool, cloud: str) -> None:
    """A whole cloud network on this machine: an internet, guests, and what serves them. Needs root.

    Without a command it goes `up`.
    """
    if os.geteuid() != 0:
        raise click.ClickException("namespaces and containers need root: run it with sudo")
    try:
        cloud_prefix(cloud)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    context.obj = Chosen(cloud=cloud, virtual=virtual)
    if context.invoked_subcommand is None:
        context.invoke(up)


@devcloud.command()
@click.pass_obj
def up(chosen: Chosen) -> None:
    """Start what isn't up, and prove that it works."""
    cloud = chosen.cloud
    console = Console(stderr=True)
    began = time.monotonic()
    with console.status("starting") as spinner:

        def progress(step: str) -> None:
            spinner.update(step)
            console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {step}")

        try:
            prover = clouds.up(cloud=cloud, virtual=chosen.virtual, progress=progress)
        except (MachineError, RemoteError, UnhealthyError, WentBackError, RuntimeError, ValueError) as error:
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
def down(chosen: Chosen) -> None:
    """Remove everything of the cloud, also after a crash."""
    try:
        removed = clouds.down(cloud=chosen.cloud)
    except (MachineError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    for thing in removed:
        click.echo(f"removed {thing}")


@devcloud.command()
@click.pass_obj
def status(chosen: Chosen) -> None:
    """What is up."""
    table = Table("", "name", "kind", Column(overflow="fold"), box=None, header_style="dim")
    try:
        members = clouds.status(cloud=chosen.cloud)
    except MachineError as error:
        raise click.ClickException(f"{error}\n`sysvm devcloud up` repairs it, `down` removes it") from error
    for member in members:
        mark = "[green]up[/]" if member.up else "[red]down[/]"
        table.add_row(mark, member.name, member.kind, member.detail)
    Console().print(table if members else f"{chosen.cloud} is not up; `sysvm devcloud up` starts it")
    sys.exit(0 if members and all(member.up for member in members) else 1)


@devcloud.command()
@click.argument("name")
@click.pass_obj
def shell(chosen: Chosen, name: str) -> None:
    """A shell in the machine NAME, or in the network of `internet` or `mgmt`."""
    try:
        sys.exit(clouds.shell(name, cloud=chosen.cloud))
    except MachineError as error:
        raise click.ClickException(str(error)) from error
