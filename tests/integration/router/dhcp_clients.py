"""Stock DHCP clients in a lab's namespaces; each tells what it was given and configures nothing."""

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from router_lab import Client

from appliance.runtime import namespace

Lease = dict[str, str]
"""address, router, dns, domain, mtu, ntp, search, routes; what wasn't given is absent."""

_NAMES = {
    "dhclient": {
        "address": "new_ip_address",
        "router": "new_routers",
        "dns": "new_domain_name_servers",
        "domain": "new_domain_name",
        "mtu": "new_interface_mtu",
        "ntp": "new_ntp_servers",
        "search": "new_domain_search",
        "routes": "new_rfc3442_classless_static_routes",
        "hostname": "new_host_name",
    },
    "udhcpc": {
        "address": "ip",
        "router": "router",
        "dns": "dns",
        "domain": "domain",
        "mtu": "mtu",
        "ntp": "ntpsrv",
        "search": "search",
        "routes": "staticroutes",
        "hostname": "hostname",
    },
    "dhcpcd": {
        "address": "new_ip_address",
        "router": "new_routers",
        "dns": "new_domain_name_servers",
        "domain": "new_domain_name",
        "mtu": "new_interface_mtu",
        "ntp": "new_ntp_servers",
        "search": "new_domain_search",
        "routes": "new_classless_static_routes",
        "hostname": "new_host_name",
    },
}
CLIENTS = tuple(_NAMES)
_BOUND = {"dhclient": "reason=BOUND", "udhcpc": "interface=", "dhcpcd": "reason=BOUND"}
_DHCLIENT = """
option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;
request subnet-mask, routers, domain-name-servers, domain-name, interface-mtu, ntp-servers, domain-search,
        host-name, rfc3442-classless-static-routes;
timeout 10; initial-interval 1; retry 1;
"""
_SCRIPT = """#!/bin/sh
case "$1$reason" in deconfig|leasefail|PREINIT|CARRIER|NOCARRIER) exit 0;; esac
env > {}/new; mv {}/new {}/lease
"""


def ask(kind: str, client: Client, *, seconds: float = 12.0) -> Lease | None:
    """A lease, or None where none came in time."""
    with tempfile.TemporaryDirectory() as directory, _running(kind, client, Path(directory)) as process:
        lease = Path(directory) / "lease"
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            text = lease.read_text() if lease.exists() else ""
            if _BOUND[kind] in text:
                return _lease(kind, text)
            if process.poll() is not None and not lease.exists():
                return None
            time.sleep(0.05)
    return None


def _lease(kind: str, text: str) -> Lease:
    values = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    lease = {name: values[key] for name, key in _NAMES[kind].items() if values.get(key)}
    if "routes" in lease:
        lease["routes"] = _routes(kind, lease["routes"])
    return lease


def _routes(kind: str, text: str) -> str:
    """`DESTINATION via GATEWAY, ...`, sorted."""
    words = text.split()
    found = []
    if kind == "dhclient":
        numbers = list(map(int, words))
        while numbers:
            length = numbers.pop(0)
            octets = [numbers.pop(0) for _ in range(-(-length // 8))] + [0] * (4 - -(-length // 8))
            gateway = [numbers.pop(0) for _ in range(4)]
            found.append(f"{'.'.join(map(str, octets))}/{length} via {'.'.join(map(str, gateway))}")
    else:
        found = [f"{to} via {gateway}" for to, gateway in zip(words[::2], words[1::2], strict=True)]
    return ", ".join(sorted(found))


@contextmanager
def _running(kind: str, client: Client, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    script = directory / "script"
    script.write_text(re.sub(r"\{\}", str(directory), _SCRIPT))
    script.chmod(0o755)
    directory.chmod(0o755)
    argv = namespace.entering(client.full, _argv(kind, script, directory))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        # Killed, so that nobody gives a lease back.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _argv(kind: str, script: Path, directory: Path) -> Sequence[str]:
    if kind == "udhcpc":
        options = [word for name in ("mtu", "ntpsrv", "search", "staticroutes") for word in ("-O", name)]
        return ["udhcpc", "-f", "-q", "-n", "-t", "5", "-T", "1", "-i", "eth0", "-s", str(script), *options]
    if kind == "dhclient":
        (directory / "conf").write_text(_DHCLIENT)
        files = ["-lf", f"{directory}/leases", "-pf", f"{directory}/pid", "-cf", f"{directory}/conf"]
        return ["dhclient", "-4", "-d", "-1", "-sf", str(script), *files, "eth0"]
    # It keeps files in places of its own; here each has its own such places.
    conf = directory / "conf"
    conf.write_text(
        "hostname\noption domain_name_servers, domain_name, domain_search, host_name, interface_mtu\n"
        "option classless_static_routes, ntp_servers, routers\nrequire dhcp_server_identifier\n"
    )
    command = f"dhcpcd -4 -A -B -1 -t 10 --noipv4ll -f {conf} -c {script} eth0"
    hide = "mount -t tmpfs none /var/lib/dhcpcd && mkdir -p /run/dhcpcd && mount -t tmpfs none /run/dhcpcd"
    return ["unshare", "--mount", "sh", "-c", f"{hide} && exec {command}"]
