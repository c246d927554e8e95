"""One router for all tests of this directory; each begins with it running the same document."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flows import Echo
from ipsec_lab import peers as ipsec_peers
from pair_lab import PairLab
from router_document import document
from router_lab import FORWARDS, WEB, Lab
from vpc_lab import MACS as VPC_MACS
from vpc_lab import TIERS, TIERS6, VpcLab

from appliance.runtime.container import Containers
from tests.ipsec_peer import Peer

Tree = Callable[[str], Path]


@pytest.fixture(scope="session")
def shared_lab(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    containers = Containers(f"brk{os.getpid() % 10**8}")
    containers.clear()
    lab = Lab(containers, tree("router"), tmp_path_factory.mktemp("router"))
    try:
        lab.up()
        for name, port in (("vm1", 80), ("vm2", 80), ("net", 80)):
            lab.serve(name, port)
        yield lab
    finally:
        lab.close()


@pytest.fixture(scope="session")
def vpc(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VpcLab]:
    """One VPC for all tests of one."""
    containers = Containers(f"vpc{os.getpid() % 10**8}")
    containers.clear()
    lab = VpcLab(containers, tree("router"), tmp_path_factory.mktemp("vpc"), macs=VPC_MACS)
    try:
        lab.up()
        for name in ("net0", "net1", "branch", *TIERS):
            for port in (80, 81):
                lab.serve(name, port)
                lab.serve(name, port, udp=True)
        for name in ("net0", *TIERS6):
            lab.serve(name, 80, version=6)
        yield lab
    finally:
        lab.close()


@pytest.fixture(scope="session")
def around(
    shared_lab: Lab, tree: Tree, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Peer]]:
    with ipsec_peers(shared_lab, tree("router"), tmp_path_factory.mktemp("ipsec")) as made:
        yield made


@pytest.fixture
def peers(around: dict[str, Peer]) -> Iterator[dict[str, Peer]]:
    """IPsec's sites and users, by name; none runs before its test starts it, nor after."""
    yield around
    for peer in around.values():
        peer.stop()


@pytest.fixture
def lab(shared_lab: Lab) -> Lab:
    """The router with the usual document, whatever the test before left."""
    shared_lab.ready()
    shared_lab.put(document())
    return shared_lab


@pytest.fixture
def unharmed(lab: Lab) -> Iterator[Lab]:
    """The lab, and afterwards the router must still run what it ran and do what it did."""
    before = lab.get("/v1/config")
    yield lab
    assert lab.get("/v1/config") == before
    assert lab.status()["state"] == "converged"
    assert lab.drift() == []
    assert lab["vm1"].dig("vm2.a.example", server="10.1.1.1") == ["10.1.1.11"]
    assert lab["net"].ask(FORWARDS, 8080) == "vm1:80 saw 203.0.113.1"


@pytest.fixture(scope="session")
def shared_pair(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PairLab]:
    containers = Containers(f"pair{os.getpid() % 10**8}")
    containers.clear()
    lab = PairLab(containers, tree("router"), tmp_path_factory.mktemp("pair"))
    try:
        lab.up()
        for name, port, udp in (("net", 7, False), ("net", 7, True), ("vm1", 80, False), ("vm1", 81, True),
                                ("vm2", 80, False), ("vm2", 80, True)):  # fmt: skip
            Echo(lab[name], port, udp=udp, address=WEB if name == "net" else "0.0.0.0")
        yield lab
    finally:
        lab.close()


@pytest.fixture
def pair(shared_pair: PairLab) -> PairLab:
    """Both routers up with the usual document, and r1 the primary."""
    for name, router in shared_pair.routers.items():
        if not shared_pair.containers.status(name).running:
            router.start()
        router.ready()
    shared_pair.put()
    shared_pair.make_primary("r1")
    return shared_pair
