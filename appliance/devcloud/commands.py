"""`sysvm devcloud`: the development cloud on the command line."""

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from appliance.deployment import UnhealthyError, WentBackError
from appliance.devcloud import cloud as clouds
from appliance.devcloud.checks import Prover, Verdict
from appliance.devcloud.layout import NAME
from appliance.devcloud.vpc.checks import VpcProver
from appliance.devcloud.vpc.failover import Failover
from appliance.management.remote import RemoteError
from appliance.runtime.naming import cloud_prefix
from appliance.runtime.runtime import MachineError


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    cloud: str
    virtual: bool
    vpc: bool
    redundant: bool


@click.group(invoke_without_command=True)
@click.option("--vm", "virtual", is_flag=True, help="With virtual machines instead of containers.")
@click.option("--vpc", is_flag=True, help="A VPC of two tiers, with a load balancer and both kinds of VPN.")
@click.option("--redundant", is_flag=True, help="The VPC on a pair of routers, whose primary is killed.")
@click.option("--cloud", default=NAME, show_default=True, help="Several can be up at once, by name.")
@click.pass_context
def devcloud(context: click.Context, *, virtual: bool, vpc: bool, redundant: bool, cloud: str) -> None:
    """A whole cloud network on this machine: an internet, guests, and what serves them. Needs root.

    Without a command it goes `up`.
    """
    if os.geteuid() != 0:
        raise click.ClickException("namespaces and containers need root: run it with sudo")
    if redundant and not vpc:
        raise click.UsageError("the redundant pair is a VPC's: say --vpc --redundant")
    if vpc and virtual:
        raise click.UsageError("the VPC's machines are containers: --vpc and --vm don't go together")
    try:
        cloud_prefix(cloud)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    context.obj = Chosen(cloud=cloud, virtual=virtual, vpc=vpc, redundant=redundant)
    if context.invoked_subcommand is None:
        context.invoke(up)


@devcloud.command()
@click.pass_obj
def up(chosen: Chosen) -> None:
    """Start what isn't up, and prove that it works; of a redundant pair kill the primary, too."""
    cloud = chosen.cloud
    console = Console(stderr=True)
    began = time.monotonic()
    failed = 0
    with console.status("starting") as spinner:

        def progress(step: str) -> None:
            spinner.update(escape(step))
            console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {escape(step)}")

        def prove(found: Iterable[Verdict]) -> int:
            verdicts = []
            for verdict in found:
                progress(f"{'ok' if verdict.ok else 'NOT'}  {verdict.name}")
                verdicts.append(verdict)
            Console().print(_checks(verdicts))
            return sum(not verdict.ok for verdict in verdicts)

        try:
            prover: Prover | VpcProver
            if chosen.vpc:
                prover = clouds.up_vpc(cloud=cloud, redundant=chosen.redundant, progress=progress)
            else:
                prover = clouds.up(cloud=cloud, virtual=chosen.virtual, progress=progress)
            spinner.update("proving")
            failed += prove(prover.run())
            # What doesn't work before wouldn't afterwards.
            if isinstance(prover, VpcProver) and prover.redundant and not failed:
                result = clouds.fail_over(prover, progress=progress)
                Console().print(_flows(result))
                Console().print(_checks(result.verdicts))
                failed += result.failed
                if not failed:
                    console.print(result.sentence)
        except (MachineError, RemoteError, UnhealthyError, WentBackError, RuntimeError, ValueError) as error:
            raise click.ClickException(str(error)) from error
    if failed:
        inside = "r1" if chosen.vpc else "router"
        many = "1 check" if failed == 1 else f"{failed} checks"
        raise click.ClickException(f"{many} failed; `sysvm devcloud shell {inside}` looks inside")
    console.print(
        f"[bold]{cloud}[/] is up and proven after {time.monotonic() - began:.1f} s; it goes on running. "
        "Next: sysvm devcloud status | shell NAME | down"
    )


def _mark(ok: bool) -> str:
    return "[green]ok[/]" if ok else "[red]failed[/]"


def _checks(verdicts: Iterable[Verdict]) -> Table:
    table = Table("", "what", "seen", Column("seconds", justify="right"), box=box.SIMPLE_HEAD)
    for verdict in verdicts:
        table.add_row(_mark(verdict.ok), verdict.name, escape(verdict.seen), f"{verdict.seconds:.2f}")
    return table


def _flows(result: Failover) -> Table:
    """What became of each flow."""
    headings = ("sent", "answered", "late", "lost", "silence")
    numbers = (Column(heading, justify="right") for heading in headings)
    broken = ["broken by"] if any(each.broken for each in result.outcomes) else []
    table = Table("", "flow", *numbers, *broken, box=box.SIMPLE_HEAD)
    for each in result.outcomes:
        counts = (each.sent, each.answered, each.late, each.lost)
        why = [escape(each.broken)] if broken else []
        table.add_row(_mark(each.ok), each.kind.what, *map(str, counts), f"{each.silence:.2f} s", *why)
    return table


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
    """A shell in the machine NAME, or in the network of `internet` or `mgmt` (a VPC's: `office`)."""
    try:
        sys.exit(clouds.shell(name, cloud=chosen.cloud))
    except MachineError as error:
        raise click.ClickException(str(error)) from error
