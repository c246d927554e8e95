"""Documents on the command line: read, validated, refused in sentences."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from appliance import roles
from appliance.document import Document
from appliance.model import Problem, RefusedError, strict_json

document_argument = click.argument(
    "document", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True)
)


def read(path: Path) -> Document:
    """A valid document from a file; ends the command with every problem where it isn't one."""
    content = values(path)
    role = content.get("role") if isinstance(content, dict) else None
    if not isinstance(role, str):
        raise click.ClickException(f"{path}: /role: a document says the role of its appliance")
    try:
        return roles.read(role, content)
    except roles.UnknownRoleError as error:
        raise click.ClickException(f"{path}: /role: {error}") from error
    except RefusedError as error:
        show_problems(path, error.problems)
        sys.exit(1)


def values(path: Path) -> Any:
    """The JSON values of a file, or of standard input where it is `-`."""
    try:
        text = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return strict_json(text)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise click.ClickException(f"{path}: not JSON: {error}") from error


def show_problems(path: Path, problems: Sequence[Problem], *, otherwise: str = "") -> None:
    console = Console(stderr=True)
    for problem in problems:
        where, what = escape(problem.pointer or "/"), escape(problem.detail)
        console.print(f"{path}: [bold]{where}[/]: {what}", soft_wrap=True, highlight=False)
    if not problems:
        console.print(f"{path}: {escape(otherwise)}", soft_wrap=True, highlight=False)
