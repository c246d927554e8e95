"""The command line's questions about packets: `explain`, `capture`, `diagnose`, `appliance connections`."""

import json
import sys
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from appliance.management import commands
from appliance.management.connection import remote_options
from appliance.management.remote import Remote, RemoteError

_COLOURS = {"forwarded": "green", "delivered": "green", "dropped": "red", "unroutable": "yellow"}
_as_json = click.option("--json", "raw", is_flag=True, help="The whole answer, as JSON.")


class _Protocol(click.ParamType[Any]):
    name = "protocol"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


@click.command()
@remote_options
@click.argument("name")
@click.option("--from", "source", required=True, metavar="ADDRESS")
@click.option("--to", "destination", required=True, metavar="ADDRESS")
@click.option(
    "--protocol", type=_Protocol(), default="tcp", show_default=True, help="tcp, udp, icmp, a number."
)
@click.option("--port", type=click.IntRange(1, 65535), help="The destination's.")
@click.option("--source-port", type=click.IntRange(1, 65535))
@click.option("--link", help="By which it comes in. [default: where an answer would leave]")
@_as_json
@click.pass_obj
def explain(
    remote: Callable[[], Remote], name: str, source: str, destination: str, protocol: Any,
    port: int | None, source_port: int | None, link: str | None, raw: bool,
) -> None:  # fmt: skip
    """What becomes of a packet in appliance NAME, and which line of its document says so.

    A probe goes through the live rules and is dropped at their end: no guest sees it."""
    question = {
        "from": source, "to": destination, "protocol": protocol, "port": port, "source_port": source_port,
        "link": link,
    }  # fmt: skip
    body = {key: value for key, value in question.items() if value is not None}
    _, answer = commands.ask(remote, "POST", f"{commands.path(name)}/explain", body=body)
    if raw:
        click.echo(json.dumps(answer, indent=2))
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"[{_COLOURS.get(answer['outcome'], '')}]{answer['outcome']}[/]  {escape(answer['detail'])}"
    )
    table = Table()
    for heading in ("chain", "verdict", "rule", "document"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "rule")
    for stage in answer["stages"]:
        chain = f"{stage['table']} {stage['chain']}".strip()
        table.add_row(chain, stage["verdict"], escape(stage["rule"]), escape("\n".join(stage["pointers"])))
    console.print(table)


@commands.appliance.command()
@click.argument("name")
@click.option("--guest", metavar="ADDRESS", help="Only this guest's.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True)
@_as_json
@click.pass_obj
def connections(remote: Callable[[], Remote], name: str, guest: str | None, limit: int, raw: bool) -> None:
    """Connections that an appliance tracks."""
    query = {"limit": limit, **({"guest": guest} if guest else {})}
    _, answer = commands.ask(remote, "GET", f"{commands.path(name)}/connections", query=query)
    if raw:
        click.echo(json.dumps(answer, indent=2))
        return
    table = Table()
    for heading in ("protocol", "from", "to", "answers from", "answers to", "state", "left"):
        table.add_column(heading, no_wrap=True)
    for item in answer["connections"]:
        ends = [_end(item[way], end) for way in ("original", "reply") for end in ("from", "to")]
        state = item.get("state", "" if item["answered"] else "unanswered")
        fast = " (fast path)" if item["fast_path"] else ""
        table.add_row(str(item["protocol"]), *ends, f"{state}{fast}", f"{item['seconds_left']} s")
    Console().print(table)
    click.echo(f"{len(answer['connections'])} of {answer['total']}", err=True)


def _end(direction: dict[str, Any], end: str) -> str:
    port = direction.get("source_port" if end == "from" else "port")
    address = direction[end]
    if port is None:
        return str(address)
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@click.command()
@remote_options
@click.argument("name")
@click.option("--link", required=True, help="guest0, public0, ...")
@click.option("--filter", "expression", default="", help="pcap-filter(7). [default: all packets]")
@click.option("--packets", type=click.IntRange(1, 1_000_000), default=1000, show_default=True)
@click.option("--seconds", type=click.IntRange(1, 600), default=30, show_default=True)
@click.option("--bytes", "size", type=click.IntRange(1024, 1 << 28), default=1 << 24, show_default=True)
@click.pass_obj
def capture(
    remote: Callable[[], Remote],
    name: str,
    link: str,
    expression: str,
    packets: int,
    seconds: int,
    size: int,
) -> None:
    """Packets of a link of appliance NAME, as a pcap file on standard output.

    > file.pcap keeps it, | wireshark -k -i - shows it as it comes."""
    if sys.stdout.isatty():
        raise click.ClickException("A pcap file is nothing for a terminal: > file.pcap")
    query = {"link": link, "packets": packets, "seconds": seconds, "bytes": size}
    if expression:
        query["filter"] = expression
    _stream(remote, f"{commands.path(name)}/capture", query)


@click.command()
@remote_options
@click.argument("name")
@click.pass_obj
def diagnostics(remote: Callable[[], Remote], name: str) -> None:
    """All that is known of appliance NAME, as a tar.gz archive on standard output, without secrets: status,
    plan, ruleset, routes, connections, logs.

    > file.tar.gz keeps it, | tar xz unpacks it."""
    if sys.stdout.isatty():
        raise click.ClickException("An archive is nothing for a terminal: > file.tar.gz")
    _stream(remote, f"{commands.path(name)}/diagnostics", {})


def _stream(remote: Callable[[], Remote], path: str, query: dict[str, Any]) -> None:
    try:
        for piece in remote().stream(path, query):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    except RemoteError as error:
        lines = [str(error), *(f"  {problem.pointer}: {problem.detail}" for problem in error.problems)]
        raise click.ClickException("\n".join(lines)) from None


@click.group()
@remote_options
def diagnose() -> None:
    """Ask the network from where an appliance is."""


def _diagnose(remote: Callable[[], Remote], appliance: str, kind: str, raw: bool, **question: Any) -> Any:
    body = {key: value for key, value in question.items() if value is not None}
    _, answer = commands.ask(remote, "POST", f"{commands.path(appliance)}/diagnostics/{kind}", body=body)
    if raw:
        click.echo(json.dumps(answer, indent=2))
    elif "output" in answer:
        click.echo(answer["output"].rstrip("\n"))
    return answer


@diagnose.command()
@click.argument("name")
@click.argument("target")
@click.option("--count", type=click.IntRange(1, 20), default=4, show_default=True)
@click.option(
    "--size", type=click.IntRange(0, 8972), default=56, show_default=True, help="Bytes of payload."
)
@click.option("--link")
@_as_json
@click.pass_obj
def ping(
    remote: Callable[[], Remote], name: str, target: str, count: int, size: int, link: str | None, raw: bool
) -> None:
    """Echo requests to TARGET; the status is 1 where none comes back."""
    answer = _diagnose(remote, name, "ping", raw, target=target, count=count, size=size, link=link)
    sys.exit(0 if answer["received"] else 1)


@diagnose.command()
@click.argument("name")
@click.argument("target")
@click.option("--hops", type=click.IntRange(1, 30), default=15, show_default=True)
@click.option("--link")
@_as_json
@click.pass_obj
def traceroute(
    remote: Callable[[], Remote], name: str, target: str, hops: int, link: str | None, raw: bool
) -> None:
    """The routers on the way to TARGET."""
    answer = _diagnose(remote, name, "traceroute", raw, target=target, hops=hops, link=link)
    sys.exit(0 if answer["reached"] else 1)


@diagnose.command()
@click.argument("name")
@click.argument("target")
@click.option("--count", type=click.IntRange(1, 20), default=3, show_default=True)
@click.option("--link", help="[default: that of the route to it]")
@_as_json
@click.pass_obj
def arping(
    remote: Callable[[], Remote], name: str, target: str, count: int, link: str | None, raw: bool
) -> None:
    """Who says that TARGET, an IPv4 address, is his."""
    answer = _diagnose(remote, name, "arping", raw, target=target, count=count, link=link)
    sys.exit(0 if answer["replies"] else 1)


@diagnose.command()
@click.argument("name")
@click.argument("target")
@click.option("--server", required=True, metavar="ADDRESS")
@click.option("--type", "kind", default="A", show_default=True)
@_as_json
@click.pass_obj
def lookup(remote: Callable[[], Remote], name: str, target: str, server: str, kind: str, raw: bool) -> None:
    """What a DNS server answers the appliance about TARGET, a name."""
    answer = _diagnose(remote, name, "lookup", raw, name=target, type=kind.upper(), server=server)
    if not raw:
        for item in answer["answers"]:
            click.echo(f"{item['name']} {item['seconds']} {item['type']} {item['text']}")
        click.echo(f"{answer['status']} in {answer['milliseconds']} ms", err=True)
    sys.exit(0 if answer["answers"] else 1)
