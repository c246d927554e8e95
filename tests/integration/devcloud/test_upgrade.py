"""`sysvm upgrade`: an appliance from another image, and back again when that is no good."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.devcloud import cloud as clouds
from appliance.devcloud import guests, intent, plane
from appliance.devcloud.layout import GUEST_GATEWAY, GUESTS, ROUTER
from appliance.management.remote import Remote
from appliance.runtime.container import Containers

Tree = Callable[[str], Path]
VM1, VM2 = GUESTS
LEASES = "/var/lib/sysvm/leases/guest0"


@dataclass
class Cloud:
    containers: Containers
    remote: Remote
    passwords: dict[str, str]

    def upgrade(self, image: Path, *, patience: float = 60) -> subprocess.Popen[str]:
        words = ["upgrade", ROUTER.name, "--image", str(image), "--patience", f"{patience:g}"]
        return subprocess.Popen(
            [sys.executable, "-m", "appliance.cli", *words],
            env={**os.environ, **plane.environment(self.containers.cloud)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ask(self, question: str) -> Any:
        return self.remote.ask("GET", f"/v1/appliances/{ROUTER.name}{question}")[1]

    def image(self) -> str:
        image: str = self.ask("/status")["versions"]["image"]
        return image

    def offer(self, guest: str) -> str:
        """Give a guest a new password, which it doesn't fetch."""
        self.passwords = {**self.passwords, guest: f"{random.getrandbits(64):x}"}
        plane.push(self.remote, intent.document(self.passwords))
        return self.passwords[guest]

    def fetch(self, guest: str) -> str:
        """What a guest's script gets that asks for its password, and then says that it has it."""
        said = []
        for request in ("send_my_password", "saved_password"):
            argv = [
                "curl",
                "-sS",
                "-m",
                "5",
                "-H",
                f"DomU_Request: {request}",
                f"http://{GUEST_GATEWAY}:8080",
            ]
            said.append(self.containers.run(guest, argv).stdout.strip())
        return said[0]

    def leases(self) -> str:
        return self.containers.run(ROUTER.name, ["cat", LEASES], check=True).stdout

    def serves(self) -> None:
        argv = ["getent", "ahostsv4", f"{VM2.name}.cs1.example"]
        assert self.containers.run(VM1.name, argv).stdout.startswith(VM2.address)
        argv = ["curl", "-sS", "-m", "5", "http://www.example.net/"]
        assert self.containers.run(VM1.name, argv).stdout.strip() == "203.0.113.2"


@pytest.fixture(scope="module")
def up(tree: Tree) -> Iterator[Cloud]:
    name = f"u{os.getpid() % 10**9}"
    containers = Containers(name)
    containers.clear()
    prover = clouds.up(cloud=name)
    for guest in GUESTS:
        guests.wait(containers, guest.name)
    yield Cloud(containers, plane.client(name), prover.passwords)
    clouds.down(cloud=name)


@pytest.fixture(scope="module")
def copied(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Makes trees that are the router's, but for the name that they give for themselves."""

    place = tmp_path_factory.mktemp("trees")

    def copy(name: str) -> Path:
        subprocess.run(["cp", "-a", "--", tree("router"), place / name], check=True)
        (place / name / "usr/lib/sysvm/image").unlink()
        (place / name / "usr/lib/sysvm/image").write_text(f"{name}\n")
        return place / name

    yield copy
    shutil.rmtree(place)


def test_an_upgrade_keeps_document_leases_passwords_and_counters(
    up: Cloud, copied: Callable[[str], Path]
) -> None:
    password = up.offer(VM2.name)
    generation, usage, leases = up.ask("")["wanted"], up.ask("/usage"), up.leases()
    assert usage
    assert VM1.mac in leases
    said, _ = (upgrade := up.upgrade(copied("router-newer"))).communicate(timeout=120)
    assert upgrade.returncode == 0, said
    assert up.image() == "router-newer"
    # The management plane would push its document to one that had lost it: it is the same without.
    assert up.ask("/status")["generation"] == generation
    assert up.leases() == leases
    after = up.ask("/usage")
    for name, counter in usage.items():
        for way, counts in counter.items():
            assert all(after[name][way][noun] >= number for noun, number in counts.items()), (name, way)
    assert up.fetch(VM2.name) == password
    assert up.fetch(VM2.name) == "saved_password"
    up.serves()
    assert not up.containers.has_snapshot(ROUTER.name)
    assert up.ask("/placement")["previous"] is None


def test_one_that_isnt_healthy_is_gone_back_from(up: Cloud, copied: Callable[[str], Path]) -> None:
    before, password = up.image(), up.offer(VM2.name)
    generation = up.ask("")["wanted"]
    broken = copied("router-broken")
    # Its agent answers, but one of its daemons is gone; and it writes nonsense over what it found.
    (broken / "usr/sbin/dnsmasq").unlink()
    (broken / "usr/lib/tmpfiles.d/broken.conf").write_text("w+ /var/lib/sysvm/nonsense - - - - broken\n")
    said, _ = (upgrade := up.upgrade(broken, patience=10)).communicate(timeout=120)
    assert upgrade.returncode == 1
    assert "runs from" in said
    assert "again" in said
    assert up.image() == before
    status = up.ask("/status")
    assert (status["state"], status["generation"]) == ("converged", generation)
    assert up.containers.run(ROUTER.name, ["ls", "/var/lib/sysvm/nonsense"]).returncode != 0
    assert up.fetch(VM2.name) == password
    up.serves()
    assert not up.containers.has_snapshot(ROUTER.name)


def test_without_an_image_to_go_back_to_nothing_is_touched(
    up: Cloud, copied: Callable[[str], Path], tmp_path: Path
) -> None:
    before = up.ask("/placement")
    leader = up.containers.status(ROUTER.name).leader
    up.remote.ask(
        "PUT", f"/v1/appliances/{ROUTER.name}/placement", body={**before, "image": str(tmp_path / "gone")}
    )
    try:
        said, _ = (upgrade := up.upgrade(copied("router-other"))).communicate(timeout=60)
    finally:
        up.remote.ask("PUT", f"/v1/appliances/{ROUTER.name}/placement", body=before)
    assert upgrade.returncode == 1
    assert "is gone" in said
    assert up.containers.status(ROUTER.name).leader == leader


def test_one_that_was_killed_is_put_in_order_by_the_next(up: Cloud, copied: Callable[[str], Path]) -> None:
    images = [copied("router-even"), copied("router-odd")]
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    password = up.offer(VM2.name)
    for number in range(4):
        image = images[number % 2]
        killed = up.upgrade(image)
        # From before the machine is stopped until after the new one answers.
        time.sleep(moments.uniform(0.5, 6.0))
        killed.kill()
        killed.communicate()
        said, _ = (upgrade := up.upgrade(image)).communicate(timeout=180)
        assert upgrade.returncode == 0, said
        assert up.image() == image.name
        assert up.ask("/placement")["previous"] is None
        assert not up.containers.has_snapshot(ROUTER.name)
        up.serves()
    assert up.fetch(VM2.name) == password
