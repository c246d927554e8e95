import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.runtime import cgroup, namespace, remains
from appliance.runtime.container import Containers
from appliance.runtime.naming import full_name
from appliance.runtime.runtime import Interface, Machine, MachineError

Tree = Callable[[str], Path]

GUEST = Interface(segment="guest0", mac="02:00:0a:01:01:01")


def links() -> set[str]:
    """The links in the test's own network namespace, the host's."""
    return {path.name for path in Path("/sys/class/net").iterdir()}


def traces(cloud: Containers) -> list[str]:
    """What the kernel and the host's files still know of a cloud, looked up without the runtime."""
    prefix = f"sysvm-{cloud.cloud}-"
    found = [str(path) for path in Path("/run/netns").glob(f"{prefix}*")]
    found += [str(path) for path in Path("/sys/fs/cgroup").rglob(f"{prefix}*")]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if prefix in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes() + (process / "cgroup").read_bytes()
            # One that has ended may wait for the host's init to collect it.
            ended = "State:\tZ" in (process / "status").read_text()
        except OSError:
            continue
        if prefix.encode() in words and not ended:
            found.append(f"{process}: {words!r}")
    return found


@pytest.fixture
def router(cloud: Containers, tree: Tree) -> Machine:
    cloud.switch.up(["guest0"])
    return Machine(
        name="r1",
        image=tree("router"),
        interfaces=(GUEST, Interface(segment="guest0", mac="02:00:0a:01:01:02", name="other")),
        boot=b'{"role": "router"}',
        keeps=True,
    )


def test_runs_a_machine_with_what_it_was_given(cloud: Containers, router: Machine) -> None:
    cloud.start(router)
    assert cloud.names() == ["r1"]
    assert cloud.status("r1").running
    said = cloud.run("r1", ["hostname"], check=True)
    assert said.stdout == "r1\n"
    assert cloud.run("r1", ["cat", "/sys/class/net/eth0/address"]).stdout == "02:00:0a:01:01:01\n"
    assert cloud.run("r1", ["cat", "/sys/class/net/other/address"]).stdout == "02:00:0a:01:01:02\n"
    assert cloud.run("r1", ["cat", "/run/credentials/@system/sysvm.boot"]).stdout == '{"role": "router"}'
    assert cloud.run("r1", ["sh", "-c", "cat; exit 3"], stdin="in").returncode == 3
    # It is the machine's own kernel state that it writes.
    cloud.run("r1", ["sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
    cloud.run("r1", ["nft", "add table inet sysvm"], check=True)
    assert "sysvm" not in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
    assert "Debian GNU/Linux 13" in cloud.status("r1").console.read_text()
    # Boot data holds a private key: it isn't left lying on the host.
    assert not (cloud.status("r1").console.parent / "sysvm.boot").exists()
    with pytest.raises(MachineError, match="runs already"):
        cloud.start(router)


def test_state_survives_a_stop_and_a_power_cut_and_the_rest_doesnt(
    cloud: Containers, router: Machine
) -> None:
    for end in (cloud.stop, cloud.kill):
        cloud.start(router)
        cloud.run("r1", ["sh", "-c", "echo kept >>/var/lib/sysvm/kept; echo lost >>/etc/lost"], check=True)
        end("r1")
        assert not cloud.status("r1").running
        assert not cgroup.processes(full_name(cloud.cloud, "r1"))
    cloud.start(router)
    assert cloud.run("r1", ["cat", "/var/lib/sysvm/kept"]).stdout == "kept\nkept\n"
    assert cloud.run("r1", ["ls", "/etc/lost"]).returncode != 0
    # A clean shutdown says goodbye.
    assert cloud.status("r1").console.read_text().count("Reached target shutdown.target") == 1


def test_segments_carry_frames_and_the_host_has_no_part_in_it(cloud: Containers, router: Machine) -> None:
    before = links()
    cloud.start(router)
    peer = full_name(cloud.cloud, "peer")
    namespace.create(peer)
    cloud.switch.plug(Interface(segment="guest0", mac="02:00:0a:01:01:09"), into=peer, name="eth0")
    namespace.run(peer, ["ip", "address", "add", "10.1.1.9/24", "dev", "eth0"], check=True)
    namespace.run(peer, ["ip", "link", "set", "eth0", "up"], check=True)
    cloud.run("r1", ["ip", "address", "add", "10.1.1.1/24", "dev", "eth0"], check=True)
    cloud.run("r1", ["ip", "link", "set", "eth0", "up"], check=True)
    assert "1 received" in cloud.run("r1", ["ping", "-c", "1", "-W", "5", "10.1.1.9"]).stdout
    assert links() == before
    with pytest.raises(ValueError, match="no segment nowhere"):
        cloud.switch.plug(Interface(segment="nowhere", mac="02:00:0a:01:01:0f"), into=peer, name="eth1")


def test_clear_finds_what_a_killed_nspawn_leaves(cloud: Containers, router: Machine) -> None:
    before = links()
    cloud.start(router)
    leader = cloud.status("r1").leader
    others = [process for process in cgroup.processes(full_name(cloud.cloud, "r1")) if process != leader]
    supervisors = [
        process for process in others if Path(f"/proc/{process}/comm").read_text() == "systemd-nspawn\n"
    ]
    assert supervisors
    for process in supervisors:
        os.kill(process, signal.SIGKILL)
    # Somebody is inside, too, from the outside.
    inside = subprocess.Popen(namespace.entering(full_name(cloud.cloud, "r1"), ["sleep", "1000"]))
    time.sleep(0.1)
    assert traces(cloud)
    cloud.clear()
    assert inside.wait(timeout=5) == -signal.SIGKILL
    assert traces(cloud) == []
    assert remains.found(cloud.cloud) == []
    assert links() == before


START = """
import sys
from pathlib import Path
from appliance.runtime.container import Containers
from appliance.runtime.runtime import Interface, Machine

cloud = Containers(sys.argv[1])
cloud.switch.up(["guest0"])
interface = Interface(segment="guest0", mac="02:00:0a:01:01:01")
print("starting", flush=True)
cloud.start(Machine(name="r1", image=Path(sys.argv[2]), interfaces=(interface,), boot=b"{}"))
"""


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_clear_finds_what_a_killed_start_leaves(cloud: Containers, tree: Tree, delay: float) -> None:
    argv = [sys.executable, "-c", START, cloud.cloud, str(tree("router"))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        starter.stdout.readline()
        time.sleep(delay)
        starter.kill()
    cloud.clear()
    # A command that was on its way when its starter died has no group to join any more, and ends.
    time.sleep(0.2)
    assert traces(cloud) == []
    assert remains.found(cloud.cloud) == []


def test_a_machine_that_cant_boot_says_why(cloud: Containers, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="broken ended while starting"):
        cloud.start(Machine(name="broken", image=tmp_path))
    with pytest.raises(MachineError, match="broken doesn't run"):
        cloud.run("broken", ["true"])
    cloud.stop("broken")
    cloud.kill("never-was")


def test_a_snapshot_is_what_was_kept(cloud: Containers, router: Machine) -> None:
    with pytest.raises(MachineError, match="no snapshot"):
        cloud.revert("r1")
    cloud.start(router)
    cloud.run("r1", ["sh", "-c", "echo before >/var/lib/sysvm/mark"], check=True)
    with pytest.raises(MachineError, match="runs"):
        cloud.snapshot("r1")
    cloud.stop("r1")
    cloud.snapshot("r1")
    cloud.start(router)
    cloud.run("r1", ["sh", "-c", "echo after >/var/lib/sysvm/mark; touch /var/lib/sysvm/new"], check=True)
    cloud.kill("r1")
    cloud.revert("r1")
    assert not cloud.has_snapshot("r1")
    cloud.start(router)
    assert cloud.run("r1", ["cat", "/var/lib/sysvm/mark"]).stdout == "before\n"
    assert cloud.run("r1", ["ls", "/var/lib/sysvm/new"]).returncode != 0
    cloud.destroy("r1")
    cloud.start(router)
    assert cloud.run("r1", ["ls", "/var/lib/sysvm/mark"]).returncode != 0


def test_an_interface_is_plugged_in_and_pulled_out(cloud: Containers, router: Machine) -> None:
    more = Interface(segment="guest0", mac="02:00:0a:01:01:09")
    with pytest.raises(MachineError, match="doesn't run"):
        cloud.attach("r1", more)
    cloud.start(router)
    # A name that the machine has given away is another card's again.
    cloud.run("r1", ["ip", "link", "set", "eth0", "name", "guest0"], check=True)
    cloud.attach("r1", more)
    with pytest.raises(MachineError, match="has an interface"):
        cloud.attach("r1", more)
    seen = cloud.run("r1", ["ip", "-br", "link"], check=True).stdout
    assert {GUEST.mac, more.mac} <= set(seen.split())
    cloud.detach("r1", more.mac)
    cloud.detach("r1", more.mac)
    assert more.mac not in cloud.run("r1", ["ip", "-br", "link"], check=True).stdout
