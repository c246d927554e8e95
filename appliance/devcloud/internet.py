"""The internet of the development cloud: the provider's gateway on the public segment, and behind it a web
server, two DNS upstreams and a client. Real processes in a namespace of their own.

Nothing in it knows a way to the guest network: who isn't translated gets no answer.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from appliance.devcloud import end, web
from appliance.devcloud.layout import (
    BLOCKED_PORT,
    CLIENT_ADDRESS,
    INTERNET,
    INTERNET_GATEWAY,
    INTERNET_MAC,
    PUBLIC_SEGMENT,
    UPSTREAM_ADDRESSES,
    WEB_ADDRESS,
    WEB_NAME,
)
from appliance.runtime import namespace
from appliance.runtime.daemon import Daemon
from appliance.runtime.naming import full_name
from appliance.runtime.runtime import Interface


def daemons(cloud: str) -> list[Daemon]:
    """The processes of the internet; kill one to see what the router makes of it."""
    web_servers = [
        Daemon(
            cloud=cloud,
            name=f"internet-web{port}",
            namespace=INTERNET,
            argv=(sys.executable, str(Path(web.__file__)), "0.0.0.0", str(port)),  # noqa: S104
        )
        for port in (80, BLOCKED_PORT)
    ]
    upstreams = [
        Daemon(cloud=cloud, name=f"internet-dns{number}", namespace=INTERNET, argv=upstream(number, address))
        for number, address in enumerate(UPSTREAM_ADDRESSES, start=1)
    ]
    return [*web_servers, *upstreams]


def upstream(number: int, address: str) -> tuple[str, ...]:
    """A DNS server for example.net and nothing else; `upstream.example.net` TXT says which one answered."""
    # fmt: off
    return (
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
        "--pid-file", "--bind-interfaces", f"--listen-address={address}",
        f"--address=/{WEB_NAME}/{WEB_ADDRESS}", f"--txt-record=upstream.example.net,dns{number}",
        "--local=/example.net/", "--log-queries", "--log-facility=-",
    )
    # fmt: on


def up(cloud: str) -> None:
    """Start what isn't there."""
    end.up(
        cloud,
        INTERNET,
        interface=Interface(segment=PUBLIC_SEGMENT, mac=INTERNET_MAC),
        link="public0",
        addresses=[f"{INTERNET_GATEWAY}/24"],
        local=[WEB_ADDRESS, *UPSTREAM_ADDRESSES, CLIENT_ADDRESS],
    )
    for daemon in daemons(cloud):
        daemon.start()


def run(
    cloud: str, argv: Sequence[str], *, timeout: float | None = 60.0, check: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command on the internet, e.g. `curl --interface CLIENT_ADDRESS`. Raises as subprocess.run."""
    return namespace.run(full_name(cloud, INTERNET), argv, timeout=timeout, check=check)
