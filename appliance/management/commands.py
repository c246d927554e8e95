"""The command line of the management plane: `serve`, and the `appliance` group that talks to its API."""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from appliance import disk
from appliance.management import state
from appliance.management.connection import remote_options, state_option
from appliance.management.plane import Plane
from appliance.management.remote import Remote, RemoteError
from appliance.management.schedule import POLL_INTERVAL
from appliance.management.server import DEFAULT_LISTEN, Server

PUSH_TIMEOUT = 300.0
"""Seconds that `push --wait` waits."""

_STYLES = {
    "converged": "green", "empty": "dim", "pending": "yellow", "drifted": "yellow", "degraded": "red",
    "refused": "red", "failed": "red", "unreachable": "red",
}  # fmt: skip

_output = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


@click.command()
@state_option
@click.option("--database", metavar="URL", help="A SQLAlchemy URL. [default: SQLite in the state directory]")
@click.option(
    "--listen",
    multiple=True,
    default=[DEFAULT_LISTEN],
    show_default=True,
    metavar="ADDRESS",
    help="HOST:PORT or unix:PATH; more than one may be given.",
)
@click.option(
    "--poll",
    type=click.FloatRange(min=0.1),
    default=POLL_INTERVAL,
    show_default=True,
    metavar="SECONDS",
    help="How often an appliance that is right is looked after.",
)
def serve(directory: Path, database: str | None, listen: tuple[str, ...], poll: float) -> None:
    """Run the management plane."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        with Plane.open(directory, database=database, poll_interval=poll) as plane:
            Server(plane, listen=listen).run()
    except state.InUseError as error:
        raise click.ClickException(f"{error} Stop it first, or give another --state.") from None
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise click.ClickException(f"The database can't be used: {said}. See --database.") from None
    except ImportError as error:
        raise click.ClickException(f"The database's driver isn't installed: {error}.") from None
    except (OSError, ValueError) as error:
        raise click.ClickException(f"The management plane can't start: {error}. See --listen and --state.") \
            from None  # fmt: skip


@click.group()
@remote_options
def appliance() -> None:
    """Appliances, and what they should be."""


@appliance.command()
@click.argument("name")
@click.option("--role", default="router", show_default=True)
@click.option("--control-mac", required=True, metavar="MAC", help="The control interface's network card.")
@click.option("--control-address", required=True, metavar="ADDRESS/LENGTH", help="Where its agent listens.")
@click.option("--control-gateway", metavar="ADDRESS", help="If the management plane is on another network.")
@click.option("--port", type=click.IntRange(1, 65535), help="The agent's port. [default: 8443]")
@click.option(
    "-o",
    "--output",
    type=_output,
    required=True,
    help="Where the boot data goes; it holds the appliance's key and is shown only now.",
)
@click.pass_obj
def create(
    remote: Callable[[], Remote], name: str, role: str, control_mac: str, control_address: str,
    control_gateway: str | None, port: int | None, output: Path,
) -> None:  # fmt: skip
    """Make an appliance and write its boot data."""
    control = {"mac": control_mac, "address": control_address, "gateway": control_gateway}
    body: dict[str, Any] = {"name": name, "role": role, "control": control}
    if port is not None:
        body["port"] = port
    _, answer = ask(remote, "POST", "/v1/appliances", body=body)
    _write_boot(output, answer["boot"])


@appliance.command()
@click.argument("name")
@click.option("-o", "--output", type=_output, required=True)
@click.pass_obj
def boot(remote: Callable[[], Remote], name: str, output: Path) -> None:
    """Write boot data anew, with a new certificate."""
    _write_boot(output, ask(remote, "POST", f"{path(name)}/boot")[1])


@appliance.command("list")
@click.pass_obj
def list_appliances(remote: Callable[[], Remote]) -> None:
    """All appliances, and how far they have got."""
    _, answer = ask(remote, "GET", "/v1/appliances")
    table = Table()
    for heading in ("name", "role", "control", "state", "wanted", "runs"):
        table.add_column(heading, no_wrap=True)
    table.add_column("trouble", overflow="fold")
    for item in answer["appliances"]:
        table.add_row(
            item["name"],
            item["role"],
            item["control"]["address"],
            Text(item["state"], style=_STYLES.get(item["state"], "")),
            str(item["wanted"] or "-"),
            str(item["reported"] or "-"),
            escape(item["last_error"] or ""),
        )
    Console().print(table)


@appliance.command()
@click.argument("name")
@click.pass_obj
def hits(remote: Callable[[], Remote], name: str) -> None:
    """How many packets each rule of its access lists has decided about."""
    _, answer = ask(remote, "GET", f"{path(name)}/hits")
    table = Table("rule", "packets", "bytes")
    for pointer, counts in answer.items():
        table.add_row(escape(pointer), str(counts["packets"]), str(counts["bytes"]))
    Console().print(table)


@appliance.command()
@click.argument("name")
@click.pass_obj
def load_balancers(remote: Callable[[], Remote], name: str) -> None:
    """Its load balancers, and how their servers are."""
    _, answer = ask(remote, "GET", f"{path(name)}/load-balancers")
    table = Table("load balancer", "group", "server", "address", "status", "weight", "sessions", "so far")
    for of, item in sorted(answer.items()):
        table.add_row(escape(of), "", "", "", escape(item["status"]), "", *_sessions(item))
        for group, members in [("", item), *sorted(item.get("groups", {}).items())]:
            for server, seen in sorted(members["servers"].items()):
                words = [of, group, server, seen["address"], seen["status"], str(seen["weight"])]
                table.add_row(*map(escape, words), *_sessions(seen))
    Console().print(table)


def _sessions(seen: Mapping[str, Any]) -> tuple[str, str]:
    # Of udp's flows only those of the moment are known.
    total = seen.get("sessions_total")
    return f"{seen['sessions']:,}", "-" if total is None else f"{total:,}"


@appliance.command()
@click.argument("name")
@click.option("--own", is_flag=True, help="Of a redundant pair this one's alone, not both together.")
@click.pass_obj
def usage(remote: Callable[[], Remote], name: str, own: bool) -> None:
    """Its traffic totals, as guests and users see them; of a redundant pair both routers' together."""
    query = {"own": "true"} if own else None
    _, answer = ask(remote, "GET", f"{path(name)}/usage", query=query)
    table = Table("of", "sent bytes", "packets", "received bytes", "packets")
    for of, counts in sorted(answer.items()):
        places = product(("sent", "received"), ("bytes", "packets"))
        numbers = (counts.get(way, {}).get(unit) for way, unit in places)
        table.add_row(escape(of), *("-" if number is None else f"{number:,}" for number in numbers))
    Console().print(table)


@appliance.command()
@click.argument("name")
@click.option("--document", "only_document", is_flag=True, help="What it should be: JSON, secrets masked.")
@click.pass_obj
def show(remote: Callable[[], Remote], name: str, only_document: bool) -> None:
    """One appliance."""
    if only_document:
        click.echo(json.dumps(ask(remote, "GET", f"{path(name)}/document")[1], indent=2))
        return
    _, item = ask(remote, "GET", path(name))
    table = Table(show_header=False)
    for key, value in item.items():
        if key not in ("problems", "converged"):
            text = value if isinstance(value, str) else json.dumps(value)
            table.add_row(key.replace("_", " "), escape("-" if value is None else text))
    for problem in item["problems"]:
        table.add_row("problem", escape(f"{problem['pointer']}: {problem['detail']}"))
    Console().print(table)


@appliance.command()
@click.argument("name")
@click.confirmation_option(prompt="Forget this appliance and its documents? It goes on running as it is")
@click.pass_obj
def delete(remote: Callable[[], Remote], name: str) -> None:
    """Forget an appliance. The machine itself is left alone."""
    ask(remote, "DELETE", path(name))


@appliance.command()
@click.argument("name")
@click.argument("document", type=click.File("rb"))
@click.option("--wait", is_flag=True, help="Until the appliance runs it, or refuses it.")
@click.option(
    "--timeout", type=click.FloatRange(0, 3600), default=PUSH_TIMEOUT, show_default=True, metavar="SECONDS"
)
@click.pass_obj
def push(remote: Callable[[], Remote], name: str, document: Any, wait: bool, timeout: float) -> None:
    """Want DOCUMENT (a JSON file, or - for standard input) of an appliance."""
    content = _document(document)
    status, answer = ask(
        remote, "PUT", f"{path(name)}/document", body=content, wait=timeout if wait else 0.0
    )
    generation = answer["generation"]
    if status == 200:
        click.echo(f"{name} runs generation {generation}.")
    elif not wait:
        click.echo(f"{name} is to run generation {generation}.")
    else:
        trouble = answer.get("detail") or answer["last_error"] or "It hasn't answered yet."
        _fail(f"{name} doesn't run generation {generation} after {timeout:g} s: {trouble} "
              "It goes on being tried; see `sysvm appliance show`.")  # fmt: skip


@appliance.command()
@click.argument("name")
@click.argument("document", type=click.File("rb"))
@click.pass_obj
def plan(remote: Callable[[], Remote], name: str, document: Any) -> None:
    """What pushing DOCUMENT would change; changes nothing."""
    _, answer = ask(remote, "POST", f"{path(name)}/plan", body=_document(document))
    changes = answer.get("changes", [])
    for change in changes:
        click.echo(change if isinstance(change, str) else json.dumps(change))
    click.echo(f"{len(changes)} changes." if changes else "Nothing to change.", err=True)


@appliance.command("switch-over")
@click.argument("name")
@click.pass_obj
def switch_over(remote: Callable[[], Remote], name: str) -> None:
    """Have NAME, the primary of a redundant pair, hand over to the other one."""
    _, answer = ask(remote, "POST", f"{path(name)}/switch-over")
    click.echo(f"{name} is the {answer['state']}, {answer['peer']['name']} the {answer['peer']['state']}.")


def ask(
    connect: Callable[[], Remote], method: str, path: str, *,
    body: Any = None, query: Mapping[str, Any] | None = None, wait: float = 0.0,
) -> tuple[int, Any]:  # fmt: skip
    """Status and answer. Raises click.ClickException for any error, with what to do about it."""
    try:
        return connect().ask(method, path, body=body, query=query, wait=wait)
    except RemoteError as error:
        lines = [str(error), *(f"  {problem.pointer}: {problem.detail}" for problem in error.problems)]
        if error.status == 0:
            lines.append("Is `sysvm serve` running? See --api.")
        elif error.status == 401:
            lines.append("Is this the state directory of that management plane? See --state.")
        _fail("\n".join(lines))


def _fail(message: str) -> NoReturn:
    raise click.ClickException(message)


def path(name: str) -> str:
    """Of an appliance, in the API."""
    return f"/v1/appliances/{quote(name, safe='')}"


def _document(file: Any) -> Any:
    try:
        return json.load(file)
    except ValueError as error:
        _fail(f"{file.name} isn't JSON: {error}.")


def _write_boot(output: Path, content: Any) -> None:
    text = json.dumps(content, indent=2) + "\n"
    if str(output) == "-":
        sys.stdout.write(text)
        return
    try:
        if output.exists() and not output.is_file():
            # A device or a pipe is written to; a file in its place would be a surprise to everybody.
            output.write_text(text)
        else:
            disk.replace(output, text.encode(), mode=0o600)
    except OSError as error:
        _fail(f"The boot data can't be written: {output}: {error.strerror}. "
              "Get it anew with `sysvm appliance boot`.")  # fmt: skip
    click.echo(f"Wrote {output}; it holds the appliance's key.")
