"""Tunnels and users as the metrics tell them."""

from appliance.agent.metrics import _vpn
from appliance.agent.vpn.ipsec import Ipsec
from appliance.agent.vpn.session import Session
from appliance.engine.charon import _association

LISTED = {
    "uniqueid": b"7",
    "state": b"ESTABLISHED",
    "remote-host": b"198.51.100.7",
    "remote-id": b"192.168.1.5",
    "remote-eap-id": b"OFFICE\\alice",
    "remote-vips": [b"10.200.0.1"],
    "established": b"12",
    "child-sas": {
        "net-3": {
            "name": b"net", "uniqueid": b"3", "state": b"INSTALLED",
            "bytes-in": b"10", "bytes-out": b"20", "remote-ts": [b"10.200.0.1/32"],
        }
    },
}  # fmt: skip


def test_a_session_as_the_daemon_lists_it() -> None:
    found = _association("office#0123456789abcdef", LISTED)
    assert found.name == "office"
    assert found.user == "alice", "without the domain that Windows puts before it"
    assert found.addresses == ("10.200.0.1",)
    (child,) = found.children
    assert (child.sent_bytes, child.received_bytes) == (20, 10)
    connecting = _association("(unnamed)", {"uniqueid": b"8", "state": b"CONNECTING"})
    assert connecting.user is None
    assert connecting.established_seconds == 0


def test_traffic_only_grows() -> None:
    """Over changes of keys, and a daemon that begins to number anew."""
    tunnels = Ipsec(lambda: (), lambda: None)

    def total(**children: tuple[int, int]) -> tuple[int, int]:
        listed = {
            name: {"name": b"net", "uniqueid": name[1:].encode(), "state": b"INSTALLED",
                   "bytes-out": str(sent).encode(), "bytes-in": str(received).encode()}
            for name, (sent, received) in children.items()
        }  # fmt: skip
        values = {"uniqueid": b"1", "state": b"ESTABLISHED", "child-sas": listed}
        tunnels._count([_association("office#0", values)])
        return tunnels._total("office")

    assert total(c1=(10, 1)) == (10, 1)
    assert total(c1=(20, 2), c2=(5, 5)) == (25, 7)
    assert total(c2=(7, 7)) == (27, 9)
    assert total(c2=(1, 1)) == (28, 10)
    assert total() == (28, 10)
    assert tunnels._total("another") == (0, 0)


def test_metrics() -> None:
    up = Session(kind="ipsec", name="office", peer="o", state="up", sent_bytes=3, received_bytes=4)
    text = "".join(_vpn([up, Session(kind="ikev2", name="alice", peer="alice", state="down")]))
    assert 'sysvm_vpn_up{kind="ipsec",name="office"} 1' in text
    assert 'sysvm_vpn_up{kind="ikev2",name="alice"} 0' in text
    assert 'sysvm_vpn_bytes_total{kind="ipsec",name="office",direction="received"} 4' in text
