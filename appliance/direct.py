"""`sysvm plan` and `sysvm apply`: ask one appliance, without the management plane but with its identity."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from appliance.boot import API_PORT
from appliance.documents import document_argument, show_problems, values
from appliance.management.authority import AUTHORITY_FILE, Authority
from appliance.management.client import Agent, AgentError, RefusedByAgentError
from appliance.management.connection import state_option

_STYLES = {"create": "green", "start": "green", "delete": "red", "stop": "red"}
C = TypeVar("C", bound=Callable[..., Any])


def _target(command: C) -> C:
    for option in (
        state_option,
        click.option("--port", type=click.IntRange(1, 65535), default=API_PORT, show_default=True),
        click.option("--at", required=True, metavar="ADDRESS", help="The appliance's control address."),
    ):
        command = option(command)
    return command


@click.command()
@document_argument
@_target
def plan(document: Path, at: str, port: int, directory: Path) -> None:
    """What DOCUMENT would change on an appliance; changes nothing."""
    content = values(document)
    with _agent(content, at=at, port=port, directory=directory) as agent:
        report = _asked(document, lambda: agent.plan(json.dumps(content)))
    _show(list(report.changes))


@click.command()
@document_argument
@_target
@click.option(
    "--confirm",
    type=click.IntRange(1, 3600),
    metavar="SECONDS",
    help="Go back by itself unless you say yes within so many seconds.",
)
def apply(document: Path, at: str, port: int, directory: Path, confirm: int | None) -> None:
    """Make DOCUMENT what an appliance runs.

    Where a management plane looks after the appliance, tell it instead (`sysvm appliance push`): it puts
    back what it wants.
    """
    content = values(document)
    with _agent(content, at=at, port=port, directory=directory) as agent:
        report = _asked(document, lambda: agent.put(json.dumps(content), confirm=confirm))
        _show(list(report.changes))
        click.echo(f"Generation {report.generation} is {report.state}.")
        if confirm is not None and click.confirm("Keep it?"):
            _asked(document, agent.confirm)


T = TypeVar("T")


def _asked(document: Path, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except RefusedByAgentError as error:
        show_problems(document, error.problems or [], otherwise=str(error))
        sys.exit(1)
    except AgentError as error:
        raise click.ClickException(str(error)) from error


def _agent(content: Any, *, at: str, port: int, directory: Path) -> Agent:
    name = content.get("name") if isinstance(content, dict) else None
    if not isinstance(name, str):
        raise click.ClickException("/name: a document says the name of its appliance")
    try:
        if not (directory / AUTHORITY_FILE).exists():
            raise FileNotFoundError(f"{directory} is no management plane's state directory")
        context = Authority.open(directory).client_context()
    except OSError as error:
        raise click.ClickException(f"No identity to show the appliance: {error}. See --state.") from error
    return Agent(name=name, host=at, port=port, context=context)


def _show(changes: list[dict[str, str]]) -> None:
    if not changes:
        click.echo("Nothing to change.")
        return
    table = Table("action", "kind", "name", "detail", box=None, header_style="dim")
    for change in changes:
        style = _STYLES.get(change["action"], "yellow")
        name, detail = escape(change["name"]), escape(change["detail"])
        table.add_row(f"[{style}]{change['action']}[/]", change["kind"], name, detail)
    Console().print(table)
