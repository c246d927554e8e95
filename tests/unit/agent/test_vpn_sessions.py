"""Tunnels and users as the metrics tell them."""

from appliance.agent.metrics import _vpn
from appliance.agent.vpn.ipsec import Ipsec
from appliance.agent.vpn.session import Session
from appliance.engine.charon import Association, _association

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


def test_usage_loses_nothing_of_what_is_gone() -> None:
    tunnels = Ipsec(lambda: (), lambda: None)

    def child(number: str, sent: int, index: str = "c0ffee") -> Association:
        listed = {
            "name": b"net", "uniqueid": number.encode(), "state": b"INSTALLED", "spi-in": index.encode(),
            "bytes-out": str(sent).encode(), "bytes-in": b"1",
        }  # fmt: skip
        return _association("office#0", {"uniqueid": b"1", "child-sas": {"net": listed}})

    first = tunnels._told([child("1", 10)], {})
    assert first == {"ipsec-office 1 c0ffee": {"sent": {"bytes": 1}, "received": {"bytes": 10}}}
    others = {"guest-10.1.1.1": {"sent": {"bytes": 5}}}
    assert tunnels._told(None, {**first, **others}) == first, "who doesn't answer has counted nothing"
    # Seen in between, and gone when it is asked for.
    tunnels._count([child("1", 17)])
    second = tunnels._told([child("2", 5)], first)
    assert second["ipsec-office 1 c0ffee"]["received"]["bytes"] == 17
    assert second["ipsec-office 2 c0ffee"]["received"]["bytes"] == 5
    assert tunnels._told([child("2", 6)], second).keys() == {"ipsec-office 2 c0ffee"}
    # A daemon that was started anew.
    third = tunnels._told([child("2", 1, "f00d")], second)
    assert third.keys() == {"ipsec-office 2 c0ffee", "ipsec-office 2 f00d"}


def test_metrics() -> None:
    up = Session(kind="ipsec", name="office", peer="o", state="up", sent_bytes=3, received_bytes=4)
    text = "".join(_vpn([up, Session(kind="ikev2", name="alice", peer="alice", state="down")]))
    assert 'sysvm_vpn_up{kind="ipsec",name="office"} 1' in text
    assert 'sysvm_vpn_up{kind="ikev2",name="alice"} 0' in text
    assert 'sysvm_vpn_bytes_total{kind="ipsec",name="office",direction="received"} 4' in text
