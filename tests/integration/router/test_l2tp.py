"""L2TP where the kernel may have none, as that of a container's host: it is said, and all else works."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ipsec_lab import session, swanctl, tunnel, up
from router_lab import PUBLIC, Lab, until
from test_remote_access import PASSWORDS, Peers, access, connect

PSK = "a key of the tests, long enough"
UNIT = "sysvm-l2tp"
SECRETS = "/run/sysvm/l2tp/chap-secrets"


def both(**fields: Any) -> dict[str, Any]:
    return access(l2tp={"address": PUBLIC, "psk": PSK, "pool": "10.201.0.0/24"}, **fields)


def states(lab: Lab) -> set[str]:
    return {item["state"] for item in lab.get("/v1/vpn")["ipsec"] if item["kind"] == "l2tp"}


def told(lab: Lab, name: str) -> set[tuple[str, str]]:
    return {(item["kind"], item["state"]) for item in lab.get("/v1/vpn")["ipsec"] if item["name"] == name}


def test_what_the_kernel_lacks_is_said(lab: Lab, peers: Peers) -> None:
    lab.put(both())
    there = lab.status()["capabilities"]["l2tp"]
    assert lab.status()["state"] == "converged"
    assert lab.drift() == []
    assert states(lab) == {"down" if there else "unsupported"}
    assert (lab.unit(UNIT, "ActiveState") == "active") == there
    loaded = lab.sh("swanctl --list-conns --uri unix:///run/sysvm-charon/vici.sock")
    assert ("@l2tp" in loaded) == there
    assert 'sysvm_vpn_up{kind="l2tp",name="alice"} 0' in lab.request("GET", "/metrics").text
    # The same users by IKEv2, who notice nothing of it.
    connect(peers["laptop"], "alice")
    until(lambda: ("ikev2", "up") in told(lab, "alice"), what="alice is up")
    assert lab["laptop"].ping("10.1.1.10")
    lab.patch({"remote_access": {"l2tp": None}})
    assert lab["laptop"].ping("10.1.1.10")
    assert states(lab) == set()
    assert lab.drift() == []


def test_what_all_users_know_is_no_sites_key(lab: Lab, peers: Peers) -> None:
    """strongSwan tries every key that fits either side: users' is found by an identity of its own."""
    own = "a key that only the site has"
    lab.put({**both(), "ipsec": {"office": tunnel("site", passive=True, psk=own)}})
    before = believed(lab)
    peers["site"].start(swanctl("site", psk=PSK))
    peers["site"].initiate("net0", check=False)
    # A peer that doesn't mind who the router is goes on from there.
    assert believed(lab) == before
    assert session(lab, "office")["state"] == "down"
    peers["site"].start(swanctl("site", psk=own))
    peers["site"].initiate("net0")
    up(lab, "office")
    assert believed(lab) == before + 1


def believed(lab: Lab) -> int:
    """How many peers have proved themselves with a key, as the IKE daemon says."""
    return lab.sh("journalctl --unit sysvm-charon --no-pager").count("with pre-shared key successful")


def test_users_in_pppds_file(lab: Lab) -> None:
    lab.put(both())
    assert lab.sh(f"stat -c '%a %U' {SECRETS}").strip() == "600 root"
    report = lab.patch({"remote_access": {"users": {"eve": {"password": 'a "quoted" \\ one'}}}})
    assert {change["kind"] for change in report["changes"]} == {"SharedSecret", "File"}
    assert '"eve" * "a \\"quoted\\" \\\\ one" *' in lab.sh(f"cat {SECRETS}").splitlines()
    lab.patch({"remote_access": {"users": {"eve": None}}})
    assert "eve" not in lab.sh(f"cat {SECRETS}")
    shown = lab.request("GET", "/v1/config").text + lab.sh("journalctl --no-pager; ps axww")
    assert not any(secret in shown for secret in (PSK, *PASSWORDS.values()))


def test_nothing_comes_in_the_clear(lab: Lab) -> None:
    lab.put(both())
    if lab.status()["capabilities"]["l2tp"]:
        lab.sh(f"systemctl stop {UNIT}")
    listen = f"import socket; s = socket.socket(type=2); s.bind(('{PUBLIC}', 1701)); print(s.recvfrom(9)[0])"
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(lab.run, "timeout", "30", "python3", "-c", listen)
        until(lambda: f"{PUBLIC}:1701" in lab.sh("ss -Hlun"), what="somebody listens")
        assert lab["net"].refused(PUBLIC, 1701, udp=True)
        lab.sh(f"python3 -c \"import socket; socket.socket(type=2).sendto(b'own', ('{PUBLIC}', 1701))\"")
        assert heard.result().strip() == "b'own'"
