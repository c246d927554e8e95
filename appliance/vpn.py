"""`sysvm vpn`: the tunnels of an appliance, and new users with the file or QR code that they need."""

import base64
import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from appliance import disk
from appliance.curve25519 import clamped, public_key
from appliance.documents import show_problems, values
from appliance.management.connection import remote_options
from appliance.management.remote import Remote, RemoteError
from appliance.management.submission import MASK
from appliance.model import RefusedError, merge_patch
from appliance.roles import read
from router.document import RouterDocument
from router.wireguard_client import Client, NoAddressError, config, free_addresses

_WAIT_SECONDS = 60.0


@click.group()
@remote_options
def vpn() -> None:
    """Tunnels, their peers, and what users of them need."""


@vpn.command()
def key() -> None:
    """Print a new private key."""
    click.echo(_new_key())


@vpn.command()
@click.argument("appliance")
@click.pass_obj
def show(remote: Callable[[], Remote], appliance: str) -> None:
    """The tunnels of APPLIANCE and their peers as they are now."""
    _, answer = _ask(remote(), "GET", _path(appliance, "vpn"))
    for link, tunnel in sorted(answer["wireguard"].items()):
        where = "in the kernel" if tunnel["in_kernel"] else "in user space"
        click.echo(f"{link}: {tunnel.get('public_key')}, UDP port {tunnel.get('listen_port')}, {where}")
        table = Table("peer", "state", "handshake", "endpoint", "allowed", "sent", "received", box=None)
        for name, peer in sorted(tunnel["peers"].items()):
            at = peer["latest_handshake"]
            table.add_row(
                escape(name),
                "[green]connected[/]" if peer["connected"] else "[dim]silent[/]",
                f"{max(0, time.time() - at):.0f} s ago" if at else "never",
                escape(peer["endpoint"] or "-"),
                ", ".join(peer["allowed_ips"]),
                f"{peer['sent']:,}",
                f"{peer['received']:,}",
            )
        Console().print(table)


@vpn.command()
@click.argument("appliance")
@click.argument("tunnel")
@click.argument("peer")
@click.option("--document", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Add the user to the document in FILE, without a management plane.")  # fmt: skip
@click.option("--endpoint", default="", metavar="HOST[:PORT]",
              help="Where the user finds the tunnel. [default: where it listens]")  # fmt: skip
@click.option(
    "--dns",
    multiple=True,
    metavar="ADDRESS",
    help="The user's DNS server; more may be given. [default: those of networks he reaches]",
)
@click.option("--no-dns", is_flag=True, help="Leave the user's DNS servers alone.")
@click.option("--split", is_flag=True, help="Keep the user's way to the internet out of a full tunnel.")
@click.option("--keepalive", type=click.IntRange(0, 65535), default=25, show_default=True, metavar="SECONDS")
@click.option("--no-preshared-key", is_flag=True)
@click.option("--qr", is_flag=True, help="A QR code for WireGuard's app, instead of text.")
@click.pass_obj
def client(
    remote: Callable[[], Remote], appliance: str, tunnel: str, peer: str, document: Path | None,
    endpoint: str, dns: tuple[str, ...], no_dns: bool, split: bool, keepalive: int,
    no_preshared_key: bool, qr: bool,
) -> None:  # fmt: skip
    """Make PEER a user of TUNNEL, and print the file for wg-quick(8) or WireGuard's app.

    The private key is made here and is in what is printed, and nowhere else.
    """
    if document is None:
        connected = remote()
        content = _ask(connected, "GET", _path(appliance, "document"))[1]
        told = _ask(connected, "GET", _path(appliance, "vpn"))[1]["wireguard"].get(tunnel, {})
    else:
        content = values(document)
        own = content.get("wireguard", {}).get(tunnel, {}).get("private_key", "")
        told = {"public_key": public_key(own)} if own else {}
    before = _document(content, document or Path(appliance))
    if tunnel not in before.wireguard or not told.get("public_key"):
        known = ", ".join(before.wireguard) or "none"
        _fail(f"{appliance} has no WireGuard tunnel {tunnel} that runs; there are: {known}")
    if peer in before.wireguard[tunnel].peers:
        _fail(f"{tunnel} has a peer {peer} already; its private key is only where it was made")
    try:
        addresses = free_addresses(before.wireguard[tunnel])
    except NoAddressError as error:
        _fail(str(error))
    private = _new_key()
    made = Client(
        private_key=private,
        public_key=public_key(private),
        preshared_key="" if no_preshared_key else base64.b64encode(secrets.token_bytes(32)).decode(),
        addresses=addresses,
        persistent_keepalive=keepalive,
    )
    patch = {"wireguard": {tunnel: {"peers": {peer: made.peer()}}}}
    if endpoint and ":" not in endpoint.rpartition("]")[2]:
        endpoint = f"{endpoint}:{before.wireguard[tunnel].listen.port}"
    text = config(
        before, tunnel, made,
        public_key=told["public_key"], endpoint=endpoint, dns=() if no_dns else dns or None,
        everything=not split,
    )  # fmt: skip
    if document is None:
        _ask(connected, "PATCH", _path(appliance, "document"), body=patch)
    else:
        changed = merge_patch(content, patch)
        _document(changed, document)
        disk.replace(document, (json.dumps(changed, indent=2) + "\n").encode(), mode=0o600)
    if not qr:
        click.echo(text, nl=False)
    else:
        import segno

        segno.make(text, error="l").terminal(compact=True)


def _document(content: Any, path: Path) -> RouterDocument:
    """A document, its keys perhaps masked; ends the command where it isn't one."""
    tunnels = content.get("wireguard", {}) if isinstance(content, dict) else {}
    try:
        found = read("router", {"generation": 1, **content, "wireguard": _unmasked(tunnels)})
    except RefusedError as error:
        show_problems(path, error.problems)
        raise click.exceptions.Exit(1) from None
    assert isinstance(found, RouterDocument)  # noqa: S101
    return found


def _unmasked(value: Any) -> Any:
    """With any key in place of each that is masked."""
    if isinstance(value, dict):
        return {key: _unmasked(item) for key, item in value.items()}
    return _new_key() if value == MASK else value


def _new_key() -> str:
    return clamped(base64.b64encode(secrets.token_bytes(32)).decode())


def _path(appliance: str, question: str) -> str:
    return f"/v1/appliances/{quote(appliance, safe='')}/{question}"


def _ask(remote: Remote, method: str, path: str, *, body: Any = None) -> tuple[int, Any]:
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    try:
        status, answer = remote.ask(
            method, path, body=body, wait=_WAIT_SECONDS if body is not None else 0.0, content_type=kind
        )
    except RemoteError as error:
        lines = [str(error), *(f"  {problem.pointer}: {problem.detail}" for problem in error.problems)]
        _fail("\n".join(lines))
    return status, answer


def _fail(message: str) -> NoReturn:
    raise click.ClickException(message)
