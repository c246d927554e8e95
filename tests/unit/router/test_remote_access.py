"""Remote access as one connection, a pool per family and a secret per user."""

from typing import Any

from appliance.model import merge_patch
from appliance.rendering import pieces
from appliance.resources import AddressPool, Connection, Resource, SharedSecret
from appliance.route import Route
from router import remote_access
from tests.examples import document, example, read


def resources(**fields: Any) -> list[Resource]:
    value = merge_patch(example("everything"), {"remote_access": fields})
    return list(remote_access.resources(read(value)))


def settings(**fields: Any) -> Any:
    (found,) = [item for item in resources(**fields) if isinstance(item, Connection)]
    assert found.users
    return found.settings


def test_without_it_there_is_nothing() -> None:
    assert list(remote_access.resources(document("minimal"))) == []


def test_pools_and_their_routes() -> None:
    pools = [item for item in resources() if isinstance(item, AddressPool)]
    assert [(pool.network, pool.attributes) for pool in pools] == [
        ("10.200.0.0/24", {"dns": ["10.1.1.1"]}),
        ("fd00:c8::/112", {}),
    ]
    assert [pool.name for pool in pools] == settings()["pools"]
    routes = [(item.destination, item.link) for item in resources() if isinstance(item, Route)]
    assert routes == [("10.200.0.0/24", "ipsec0"), ("fd00:c8::/112", "ipsec0")]


def test_clients_are_told_what_is_behind_a_split_tunnel() -> None:
    pools = [item for item in resources(full_tunnel=None, source_nat=None) if isinstance(item, AddressPool)]
    assert [pool.attributes for pool in pools] == [
        {"dns": ["10.1.1.1"], "subnet": ["10.1.1.0/24", "10.1.16.0/20"]},
        {"subnet": ["fd00:1::/64"]},
    ]


def test_full_and_split_tunnels() -> None:
    def reached(**fields: Any) -> Any:
        return settings(**fields)["children"]["net"]["local_ts"]

    assert reached() == ["0.0.0.0/0", "::/0"]
    assert reached(pool=["10.200.0.0/24"]) == ["0.0.0.0/0"]
    split: dict[str, Any] = {"full_tunnel": None, "source_nat": None}
    # What any of them reaches is told to all; who may not is kept from it.
    assert reached(**split) == ["10.1.1.0/24", "fd00:1::/64", "10.1.16.0/20"]
    alike: dict[str, Any] = {"users": {"bob@example.org": {"reach": None}}}
    assert reached(**split, **alike) == ["10.1.1.0/24", "fd00:1::/64"]
    assert reached(**split, subnets=None) == [
        "10.1.1.0/24", "fd00:1::/64", "10.1.16.0/20", "10.2.1.0/24", "fd00:2::/64", "10.2.2.0/24",
    ]  # fmt: skip


def test_users() -> None:
    secrets = [item for item in resources() if isinstance(item, SharedSecret)]
    assert {(secret.kind, secret.owners) for secret in secrets} == {
        ("EAP", ("alice",)),
        ("EAP", ("bob@example.org",)),
    }
    told = "".join(pieces(resources())) + repr(resources())
    assert "only an example" not in told
    assert "PRIVATE KEY" not in told


def test_no_tunnel_can_have_the_connections_name() -> None:
    value = example("everything")
    value["ipsec"][remote_access.CONNECTION] = value["ipsec"].pop("old")
    try:
        read(value)
    except Exception as error:
        assert remote_access.CONNECTION in str(error)
    else:
        raise AssertionError("it was taken")
