"""What a router of a pair says of its daemons' sessions, and makes of what the other one says."""

from appliance.engine.wireguard_device import Device, Peer
from router.pair import servers, tunnels
from router.pair.servers import Server

STATE = """1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight ...
3 web 17 vm1 10.1.1.10 2 0 1 1 12 6 3 4 6 0 0 1 - 8000 - 0 0 - - 0
3 web 18 dead 10.1.1.12 0 0 1 1 12 8 2 0 6 0 0 1 - 8000 - 0 0 - - 0
3 web 19 told 10.1.1.13 0 0 1 1 12 8 2 0 2 0 0 1 - 8000 - 0 0 - - 0
3 web 20 resting 10.1.1.14 0 1 1 1 12 8 2 0 6 0 0 1 - 8000 - 0 0 - - 0
4 mail 21 plain 10.1.1.15 2 0 1 1 12 1 0 1 0 0 0 1 - 25 - 0 0 - - 0
"""
"""As HAProxy 3.0 writes it."""


def test_servers_with_a_check() -> None:
    assert list(servers.parsed(STATE)) == [
        Server("web/vm1", down=False, checked=True),
        Server("web/dead", down=True, checked=True),
        Server("web/told", down=True, checked=False),
    ]


def test_nothing_is_asked_where_nothing_runs() -> None:
    assert servers.down() == [] and tunnels.endpoints() == {}
    servers.adopt(["web/vm1"])
    servers.check_again()
    assert tunnels.begin({"vpn0": {"key": "192.0.2.1:5"}}) == 0


def test_sessions_begin_anew_and_keepalives_stay_as_they_are() -> None:
    def peer(keepalive: int) -> Peer:
        return Peer(preshared_key="", allowed_ips=frozenset(), endpoint="", persistent_keepalive=keepalive,
                    latest_handshake=0, received=0, sent=0)  # fmt: skip

    device = Device(private_key="ours", listen_port=1, peers={"a": peer(0), "b": peer(25), "c": peer(7)})
    first, second, last = tunnels.changes(device, {"a": "192.0.2.1:5", "b": "[2001:db8::1]:6"})
    assert first.private_key not in (None, "ours") and second.private_key == "ours"
    assert last.private_key is None
    told = [(change.public_key, change.persistent_keepalive, change.endpoint) for change in second.peers]
    assert told == [("a", 1, "192.0.2.1:5"), ("b", 25, "[2001:db8::1]:6")]
    assert [(change.public_key, change.persistent_keepalive) for change in first.peers] == [
        ("a", 0),
        ("b", 0),
    ]
    assert [(change.public_key, change.persistent_keepalive) for change in last.peers] == [("a", 0)]
    assert all(change.update_only for each in (first, second, last) for change in each.peers)
