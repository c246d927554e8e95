"""Options of commands that ask the management plane."""

import os
from collections.abc import Callable
from functools import partial, update_wrapper
from pathlib import Path
from typing import Any

import click

from appliance.management import state
from appliance.management.remote import Remote
from appliance.management.server import DEFAULT_LISTEN

state_option = click.option(
    "--state",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=state.DEFAULT,
    show_default=True,
    envvar="SYSVM_STATE",
    help="The management plane's state directory.",
)


def remote_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command or group options that say which management plane. click's object is then what
    connects to it."""

    def connected(context: click.Context, directory: Path, api: str, **options: Any) -> None:
        context.obj = partial(connect, directory, api)
        command(**options)

    named: Any = update_wrapper(connected, command)
    asked = click.option(
        "--api",
        default=f"http://{DEFAULT_LISTEN}",
        show_default=True,
        envvar="SYSVM_API",
        metavar="ADDRESS",
        help="The management plane: http://HOST:PORT or unix:PATH.",
    )
    return state_option(asked(click.pass_context(named)))


def connect(directory: Path, api: str) -> Remote:
    """Raises click.ClickException where the token can't be read."""
    token = os.environ.get("SYSVM_TOKEN")
    if token is None:
        path = directory / state.TOKEN
        try:
            token = path.read_text().strip()
        except OSError as error:
            raise click.ClickException(
                f"The token can't be read: {path}: {error.strerror}. Start `sysvm serve` first, give its "
                "--state, or set SYSVM_TOKEN; another user's state directory needs sudo."
            ) from None
    return Remote(address=api, token=token)
