import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.runtime.container import Containers
from appliance.runtime.runtime import Interface, Machine

Tree = Callable[[str], Path]

DNSMASQ = """
pid-file=/run/sysvm-dnsmasq/guest0.pid
no-resolv
no-hosts
bind-dynamic
interface=guest0
host-record=gate.example,10.1.1.1
dhcp-range=10.1.1.0,static,255.255.255.0,1h
dhcp-leasefile=/var/lib/sysvm/leases/guest0
dhcp-hostsdir=/run/sysvm/dnsmasq/guest0/added
"""
UNIT = "sysvm-dnsmasq@guest0.service"


@pytest.fixture
def router(cloud: Containers, tree: Tree) -> Iterator[Containers]:
    """A router's tree, booted as `r1` without anything for the agent to do."""
    cloud.switch.up(["guest0"])
    interface = Interface(segment="guest0", mac="02:00:0a:01:01:01", name="guest0")
    cloud.start(Machine(name="r1", image=tree("router"), interfaces=(interface,), keeps=True, boot=b"{}"))
    cloud.run("r1", ["systemctl", "stop", "sysvm-agent.service"], check=True)
    yield cloud


def until(cloud: Containers, argv: list[str], said: str) -> None:
    """Wait until a command in the router says this; 5 s."""
    deadline = time.monotonic() + 5
    while said not in (seen := cloud.run("r1", argv)).stdout:
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)


def test_nothing_listens_and_nobody_logs_in_by_password(router: Containers) -> None:
    assert router.run("r1", ["ss", "-Hlntu"], check=True).stdout == ""
    passwords = router.run("r1", ["cut", "-d:", "-f2", "/etc/shadow"], check=True).stdout.split()
    assert set(passwords) <= {"*", "!", "!*"}
    failed = router.run("r1", ["systemctl", "--failed", "--no-legend", "--plain"]).stdout
    assert [line for line in failed.splitlines() if "sysvm-agent" not in line] == []


def test_dnsmasq_serves_reloads_and_comes_back_in_its_sandbox(router: Containers) -> None:
    def run(*argv: str, stdin: str | None = None) -> str:
        return router.run("r1", argv, stdin=stdin, check=True).stdout

    run("ip", "address", "add", "10.1.1.1/24", "dev", "guest0")
    run("ip", "link", "set", "guest0", "up")
    run("mkdir", "-p", "/run/sysvm/dnsmasq/guest0/added")
    run("tee", "/run/sysvm/dnsmasq/guest0/dnsmasq.conf", stdin=DNSMASQ)
    run("systemctl", "start", UNIT)
    until(router, ["ss", "-Hlnu"], "10.1.1.1:53")
    run("systemctl", "reload", UNIT)
    # A reservation that is renamed into place is read without a reload.
    run("tee", "/run/sysvm/dnsmasq/guest0/added/.vm1", stdin="02:00:0a:01:01:0a,10.1.1.10,vm1\n")
    run("mv", "/run/sysvm/dnsmasq/guest0/added/.vm1", "/run/sysvm/dnsmasq/guest0/added/vm1")
    until(router, ["journalctl", "--no-pager", "-u", UNIT], "/run/sysvm/dnsmasq/guest0/added/vm1")
    run("systemctl", "kill", "--signal=KILL", UNIT)
    until(
        router,
        ["systemctl", "show", "--property=NRestarts,ActiveState", UNIT],
        "NRestarts=1\nActiveState=active",
    )
    until(router, ["ss", "-Hlnu"], "10.1.1.1:53")


def test_the_metadata_service_may_write_passwords_and_little_else(router: Containers) -> None:
    drop_in = "[Service]\nType=exec\nExecStart=\nExecStart=/usr/bin/python3 -m http.server 80\n"
    place = "/run/systemd/system/sysvm-metadata.service.d"
    router.run("r1", ["mkdir", "-p", place], check=True)
    router.run("r1", ["tee", f"{place}/stand-in.conf"], stdin=drop_in, check=True)
    router.run("r1", ["systemctl", "daemon-reload"], check=True)
    router.run("r1", ["systemctl", "start", "sysvm-metadata.service"], check=True)
    until(router, ["ss", "-Hlnt"], "0.0.0.0:80")
    process = router.run(
        "r1", ["systemctl", "show", "--property=MainPID", "--value", "sysvm-metadata"]
    ).stdout
    enter = [
        "nsenter",
        "--mount",
        "--root",
        f"--target={process.strip()}",
        "setpriv",
        "--reuid=sysvm-metadata",
    ]
    enter += ["--regid=sysvm-metadata", "--clear-groups", "--", "touch"]
    given = ["install", "-d", "-o", "sysvm-metadata", "/var/lib/sysvm/passwords/guest0"]
    router.run("r1", given, check=True)
    assert router.run("r1", [*enter, "/var/lib/sysvm/passwords/guest0/x"]).stderr == ""
    assert "Read-only" in router.run("r1", [*enter, "/var/lib/sysvm/x"]).stderr
    assert router.run("r1", [*enter, "/etc/x"]).returncode != 0
