"""A machine state as text for people: files whole, rulesets in nft syntax, the rest a line each."""

import json
from collections.abc import Iterable, Iterator

from appliance import haproxy
from appliance.engine import load_balancers
from appliance.resources import (
    Connection,
    File,
    Leases,
    LoadBalancers,
    Password,
    PrivateKey,
    Records,
    Resource,
    Ruleset,
    SharedSecret,
    WireGuard,
)
from appliance.shaping import QUEUES, Shaping


def pieces(resources: Iterable[Resource]) -> Iterator[str]:
    for resource in resources:
        match resource:
            case File() if resource.secret:
                yield f"# file {resource.path} {resource.mode:04o}\n(its content is secret)\n"
            case File():
                yield f"# file {resource.path} {resource.mode:04o}\n{resource.content}"
            case Records():
                lines = "\n".join(resource.records.values())
                yield f"# records {resource.path} {resource.mode:04o}\n{lines}\n"
            case Ruleset():
                yield f"# nft table inet {resource.table}\n{ruleset_text(resource)}"
            case Leases():
                count = len(resource.holders)
                yield f"leases on {resource.link}: none of {count} reserved addresses is held by another"
            case Password():
                yield f"password {resource.network}/{resource.address} (kept until it is fetched)"
            case LoadBalancers():
                path = haproxy.Place(resource.process).config
                yield f"# file {path} 0600\n{load_balancers.config(resource)}"
                for name in resource.certificates:
                    yield f"authority {name}" if name.endswith(".ca") else f"certificate {name} and its key"
            case WireGuard():
                yield from _tunnel(resource)
            case Connection():
                settings = json.dumps(resource.settings, indent=2)
                yield f"connection {resource.name} by {resource.link}\n{settings}"
            case SharedSecret():
                yield f"secret {resource.kind} {resource.name} of {', '.join(resource.owners)}"
            case PrivateKey():
                yield f"private key {resource.name}"
            case Shaping():
                yield from _queues(resource)
            case _:
                yield _line(resource)


def _tunnel(tunnel: WireGuard) -> Iterator[str]:
    yield f"wireguard {tunnel.link} port={tunnel.listen_port} mtu={tunnel.mtu}"
    for peer in tunnel.peers:
        networks = ",".join(sorted(peer.allowed_ips))
        more = f" endpoint={peer.endpoint}" if peer.endpoint else ""
        more += " preshared_key" if peer.preshared_key else ""
        more += f" persistent_keepalive={peer.persistent_keepalive}" if peer.persistent_keepalive else ""
        yield f"wireguard {tunnel.link} peer {peer.name} {peer.public_key} {networks}{more}"


def _queues(shaping: Shaping) -> Iterator[str]:
    for number, queue in sorted(shaping.queues.items()):
        borrows = f" parent={QUEUES:x}:{queue.parent:x}" if queue.parent else ""
        own = f"rate={queue.rate} ceiling={queue.ceiling} burst={queue.burst}"
        yield f"queue {shaping.link} {QUEUES:x}:{number:x} {own}{borrows}"


def ruleset_text(ruleset: Ruleset) -> str:
    """The table with its limits and elements, as `nft -f` takes it."""
    fill = "".join(
        f"add element inet {ruleset.table} {name} {{\n"
        + "".join(
            f"    {key},\n" if mapped is None else f"    {key} : {mapped},\n"
            for key, mapped in elements.items()
        )
        + "}\n"
        for name, elements in ruleset.elements.items()
        if elements
    )
    limits = "".join(
        f"add limit inet {ruleset.table} {name} "
        f"{{ rate over {limit.rate} bytes/second burst {limit.burst} bytes ; }}\n"
        for name, limit in ruleset.limits.items()
    )
    return f"{ruleset.text}{limits}{fill}"


_WHEN_SO = ("local", "onlink", "virtual")


def _line(resource: Resource) -> str:
    kind = type(resource).__name__.lower()
    fields = (
        f"{name}={value}"
        for name in resource.__slots__
        if (value := getattr(resource, name)) not in (None, (), "") and (value or name not in _WHEN_SO)
    )
    return f"{kind} {' '.join(fields)}"
