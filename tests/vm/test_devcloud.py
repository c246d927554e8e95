"""The development cloud with virtual machines: the same proof as with containers, through libvirt."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.devcloud import cloud as clouds
from appliance.devcloud import intent, plane
from appliance.devcloud.checks import Prover
from appliance.devcloud.form import present, tree_of
from appliance.devcloud.layout import GUEST_SEGMENT, GUESTS, ROUTER
from appliance.runtime import libvirtd, remains
from appliance.runtime.acceleration import trouble
from appliance.runtime.binding import libvirt
from appliance.runtime.naming import run_directory
from appliance.runtime.runtime import Interface, MachineError
from appliance.runtime.virtual import VirtualMachines
from images import qcow2
from tests.vm.between import until

MAC = "02:00:0a:02:01:01"


@pytest.fixture(scope="module")
def prover() -> Iterator[Prover]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if libvirt is None or shutil.which("libvirtd") is None:
        pytest.skip("there is no libvirt here: `make vm-deps`")
    name = f"v{os.getpid() % 10**9}"
    clouds.down(cloud=name)
    yield clouds.up(cloud=name, virtual=True, progress=print)
    clouds.down(cloud=name)
    assert remains.found(name) == []


@pytest.fixture
def runtime(prover: Prover) -> VirtualMachines:
    runtime = present(prover.cloud).runtime
    assert isinstance(runtime, VirtualMachines)
    return runtime


def ask(prover: Prover, question: str) -> Any:
    return plane.client(prover.cloud).ask("GET", f"/v1/appliances/{ROUTER.name}{question}")[1]


def upgrade(prover: Prover, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "appliance.cli", "upgrade", ROUTER.name, *words]
    environment = {**os.environ, **plane.environment(prover.cloud)}
    return subprocess.run(argv, env=environment, capture_output=True, text=True)


def leased(runtime: VirtualMachines) -> set[tuple[str, str]]:
    """Who has a lease, and of what; nobody while dnsmasq writes the file."""
    lines = runtime.run(ROUTER.name, ["cat", "/var/lib/sysvm/leases/guest0"], check=True).stdout.splitlines()
    return {(mac, address) for _, mac, address, *_ in map(str.split, lines)}


def test_a_router_and_its_guests_do_all_that_containers_do(prover: Prover) -> None:
    verdicts = list(prover.run())
    assert len(verdicts) >= 22
    assert [verdict for verdict in verdicts if not verdict.ok] == []
    assert all(member.up for member in clouds.status(cloud=prover.cloud))


def test_a_libvirtd_that_was_killed_finds_its_machines_again(
    prover: Prover, runtime: VirtualMachines
) -> None:
    assert runtime.names() == ["router", "vm1", "vm2"]
    process = libvirtd.daemon(prover.cloud)
    place = run_directory(prover.cloud) / "libvirtd/libvirtd.pid"
    os.kill(int(place.read_text()), signal.SIGKILL)
    with pytest.raises(MachineError, match="can't be reached"):
        runtime.names()
    assert process.running()
    clouds.up(cloud=prover.cloud)
    assert runtime.names() == ["router", "vm1", "vm2"], "who held a connection gets a new one"
    again = present(prover.cloud).runtime
    assert again.names() == ["router", "vm1", "vm2"]
    assert again.run("router", ["hostname"]).returncode == 0


def test_a_kernel_that_boots_is_told_from_one_that_doesnt(runtime: VirtualMachines) -> None:
    image = runtime.storage.disk(runtime.storage.image(qcow2.build("router")), read_only=True)
    full = f"{runtime.prefix}probe"
    assert trouble(runtime.hypervisor, image=image, full=full, kind="qemu", seconds=120) is None
    assert trouble(runtime.hypervisor, image=image, full=full, kind="qemu", seconds=0.5)
    assert runtime.hypervisor.domain(full) is None


def test_an_interface_is_plugged_in_configured_and_pulled_out(
    prover: Prover, runtime: VirtualMachines
) -> None:
    document = intent.document(prover.passwords)
    document["interfaces"]["guest1"] = {"mac": MAC, "addresses": ["10.2.1.1/24"]}
    runtime.attach(ROUTER.name, Interface(segment=GUEST_SEGMENT, mac=MAC))
    with pytest.raises(MachineError, match="has an interface"):
        runtime.attach(ROUTER.name, Interface(segment=GUEST_SEGMENT, mac=MAC))
    plane.push(plane.client(prover.cloud), document)
    seen = runtime.run(ROUTER.name, ["ip", "-br", "address", "show", "guest1"], check=True).stdout
    assert "10.2.1.1/24" in seen
    plane.push(plane.client(prover.cloud), intent.document(prover.passwords))
    runtime.detach(ROUTER.name, MAC)
    assert MAC not in runtime.run(ROUTER.name, ["ip", "link"], check=True).stdout


def test_an_image_that_doesnt_boot_is_gone_back_from_and_a_newer_one_kept(
    prover: Prover, runtime: VirtualMachines, tmp_path: Path
) -> None:
    generation, usage = ask(prover, "")["wanted"], ask(prover, "/usage")
    leases = {(guest.mac, guest.address) for guest in GUESTS}
    until(lambda: leased(runtime) == leases)
    good = qcow2.build("router")
    broken, newer = tmp_path / "broken.qcow2", tmp_path / "newer.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", broken, "1G"], check=True)
    said = upgrade(prover, "--image", str(broken), "--patience", "2")
    assert said.returncode == 1
    assert f"runs from {good} again" in said.stderr

    # Other bytes, and so another image, of the same disk.
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", good, newer], check=True)
    said = upgrade(prover, "--image", str(newer))
    assert said.returncode == 0, said.stderr
    # The API answers before a machine has booted wholly.
    runtime.wait(ROUTER.name, seconds=60)
    assert ask(prover, "/status")["versions"]["image"] == tree_of(good)
    assert ask(prover, "/status")["generation"] == generation
    until(lambda: leased(runtime) == leases)
    after = ask(prover, "/usage")
    for name, counter in usage.items():
        for way, counts in counter.items():
            assert all(after[name][way][noun] >= number for noun, number in counts.items()), (name, way)
    assert not runtime.has_snapshot(ROUTER.name)
    assert [verdict for verdict in prover.run() if not verdict.ok] == []


def test_a_power_cut_and_a_clean_shutdown_are_told_from_each_other(
    prover: Prover, runtime: VirtualMachines
) -> None:
    runtime.kill("vm2")
    assert not runtime.status("vm2").running
    assert "Powering off" not in runtime.status("vm2").console.read_text(errors="replace")[-2000:]
    runtime.stop("vm1")
    assert not runtime.status("vm1").running
    assert "vm1" not in runtime.names()
    with pytest.raises(MachineError, match="doesn't run"):
        runtime.run("vm1", ["true"])
    runtime.destroy("vm1")
    full = f"{runtime.prefix}vm1"
    assert runtime.hypervisor.domain(full) is None
    assert runtime.storage.names(full) == []
