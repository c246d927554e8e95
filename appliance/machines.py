"""`sysvm machine` and `sysvm upgrade`: the machines that appliances run as."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click
from rich.console import Console
from rich.table import Table

from appliance.deployment import HEALTHY_SECONDS, Deployment, UnhealthyError, WentBackError
from appliance.management.connection import remote_options
from appliance.management.placement import Card, Placement
from appliance.management.remote import Remote, RemoteError
from appliance.model import RefusedError, validated
from appliance.runtime.host import CONTAINERS
from appliance.runtime.runtime import MachineError

Connect = Callable[[], Remote]
name_argument = click.argument("name")
card_argument = click.argument("card", metavar="MAC=SEGMENT")
_NOT_FOUND = 404


@click.group()
@remote_options
def machine() -> None:
    """The machines that appliances run as: containers here, virtual machines wherever libvirt is."""


@machine.command()
@name_argument
@click.option("--host", default="qemu:///system", show_default=True, help="`containers`, or a libvirt URI.")
@click.option("--cloud", default="main", show_default=True, help="The machine's name is sysvm-CLOUD-NAME.")
@click.option("--image", required=True, help="A disk image (qcow2), or a container's tree.",
              type=click.Path(path_type=Path, exists=True, resolve_path=True))  # fmt: skip
@click.option("--interface", "cards", multiple=True, required=True, metavar="MAC=SEGMENT",
              help="A bridge of the host, or network:NAME; more than one may be given.")  # fmt: skip
@click.option("--memory", type=int, default=512, show_default=True, metavar="MIB")
@click.option("--cpus", type=int, default=1, show_default=True)
@click.option("--ssh-key", "keys", multiple=True, type=click.File(), metavar="FILE",
              help="A public key of who may log in as root through the control interface.")  # fmt: skip
@click.option("--firmware", type=click.Choice(["bios", "uefi"]), default="bios", show_default=True)
@click.pass_obj
def place(
    connect: Connect, name: str, host: str, cloud: str, image: Path, cards: tuple[str, ...], memory: int,
    cpus: int, keys: tuple[TextIO, ...], firmware: str,
) -> None:  # fmt: skip
    """Say where the appliance NAME runs, and as what. `start` does it."""
    wanted = {
        "host": host, "cloud": cloud, "image": str(image), "memory": memory, "cpus": cpus,
        "ssh_keys": [key.read().strip() for key in keys], "firmware": firmware,
        "interfaces": [_card(card) for card in cards],
    }  # fmt: skip
    with _troubles():
        placement = validated(Placement, wanted)
        Deployment(remote=connect(), name=name, placement=placement).place()
    click.echo(f"{name} is to run on {host}; `sysvm machine start {name}` starts it.")


@machine.command()
@name_argument
@click.option("--wait", type=float, metavar="SECONDS", help="Until it has booted, or is emulated and late.")
@click.pass_obj
def start(connect: Connect, name: str, wait: float | None) -> None:
    """Power on, with boot data issued anew."""
    with _deployment(connect, name) as deployment:
        deployment.start(wait=wait)
    click.echo(f"{name} is powered on.")


@machine.command()
@name_argument
@click.pass_obj
def stop(connect: Connect, name: str) -> None:
    """Shut down cleanly, and cut the power if that takes too long."""
    with _deployment(connect, name) as deployment:
        deployment.runtime.stop(name)


@machine.command()
@name_argument
@click.pass_obj
def kill(connect: Connect, name: str) -> None:
    """Cut the power."""
    with _deployment(connect, name) as deployment:
        deployment.runtime.kill(name)


@machine.command()
@name_argument
@click.confirmation_option(prompt="Remove the machine and all that it kept?")
@click.pass_obj
def destroy(connect: Connect, name: str) -> None:
    """Cut the power and remove the machine, with its state."""
    with _deployment(connect, name) as deployment:
        deployment.runtime.destroy(name)


@machine.command()
@name_argument
@click.pass_obj
def status(connect: Connect, name: str) -> None:
    """Whether it runs, where, and where its console is. The exit status is 1 where it doesn't run."""
    with _deployment(connect, name) as deployment:
        seen = deployment.runtime.status(name)
    placement = deployment.placement
    table = Table(show_header=False, box=None)
    table.add_row("state", "[green]running[/]" if seen.running else "[red]off[/]")
    table.add_row("host", placement.host)
    table.add_row("image", placement.image)
    if placement.previous is not None:
        table.add_row("upgrade", f"not ended; goes back to {placement.previous}")
    for card in placement.interfaces:
        table.add_row("interface", f"{card.mac} on {card.segment}")
    table.add_row("console", str(seen.console))
    if seen.display is not None:
        table.add_row("display", seen.display)
    Console().print(table)
    sys.exit(0 if seen.running else 1)


@machine.command()
@name_argument
@click.pass_obj
def console(connect: Connect, name: str) -> None:
    """Its serial console, on this terminal; Ctrl-] leaves it. In a container it is a shell."""
    with _deployment(connect, name) as deployment:
        sys.exit(deployment.runtime.shell(name))


@machine.command()
@name_argument
@card_argument
@click.pass_obj
def attach(connect: Connect, name: str, card: str) -> None:
    """Plug an interface in, also while it runs."""
    with _deployment(connect, name) as deployment:
        deployment.attach(validated(Card, _card(card)))


@machine.command()
@name_argument
@click.argument("mac")
@click.pass_obj
def detach(connect: Connect, name: str, mac: str) -> None:
    """Pull the interface MAC out, also while it runs."""
    with _deployment(connect, name) as deployment:
        deployment.detach(mac.lower())


@click.command()
@remote_options
@name_argument
@click.option(
    "--image",
    type=click.Path(path_type=Path, exists=True, resolve_path=True),
    help="A disk image (qcow2), or a container's tree. [default: made of this checkout]",
)
@click.option(
    "--patience",
    type=click.FloatRange(1),
    default=HEALTHY_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long it has to become healthy; longer where emulated.",
)
@click.pass_obj
def upgrade(connect: Connect, name: str, image: Path | None, patience: float) -> None:
    """Run the appliance NAME from a newer image. It keeps its document, leases, passwords and counters, and
    runs from the old image again if it doesn't report healthy from the new one."""
    with _deployment(connect, name) as deployment:
        newer = image or _newest(deployment)
        deployment.upgrade(newer, patience=patience)
    click.echo(f"{name} runs from {newer}.")


def _newest(deployment: Deployment) -> Path:
    """What this checkout's code makes; RuntimeError names the step that failed."""
    from images import qcow2, tree  # Only here, as an installation needs no builder.

    _, known = deployment.remote.ask("GET", f"/v1/appliances/{deployment.name}")
    build = tree.build if deployment.placement.host == CONTAINERS else qcow2.build
    return build(known["role"], progress=deployment.progress)


@contextmanager
def _deployment(connect: Connect, name: str) -> Iterator[Deployment]:
    with _troubles():
        try:
            yield Deployment.of(connect(), name, progress=lambda step: click.echo(step, err=True))
        except RemoteError as error:
            if error.status != _NOT_FOUND:
                raise
            raise click.ClickException(f"{error} `sysvm machine place {name}` says it.") from None


@contextmanager
def _troubles() -> Iterator[None]:
    """Whatever is in the way, as a sentence."""
    try:
        yield
    except (RemoteError, MachineError, UnhealthyError, WentBackError, RefusedError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error


def _card(text: str) -> dict[str, str]:
    mac, _, segment = text.partition("=")
    return {"mac": mac.lower(), "segment": segment}
