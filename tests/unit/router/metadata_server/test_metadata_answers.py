"""A record and a path in, a response out: the four trees."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.metadata_server.answers import Door, dialect, refused, respond
from router.metadata_server.record import Record, from_line
from router.metadata_server.request import Request
from router.metadata_server.response import Response, encode

LINE = {
    "address": "10.1.1.10", "mac": "02:00:00:00:01:10", "instance_id": "i-1", "hostname": "vm1",
    "domain": "cs1.example", "user_data": "AAEC", "vendor_data": "I2Nsb3Vk",
    "public_keys": ["ssh-ed25519 A a", "ssh-rsa B b"],
    "keys": {"service-offering": "small", "availability-zone": "zone1", "own-key": "ünïcode"},
    "gateway": "10.1.1.1", "dns": ["10.1.1.1"], "search": ["cs1.example"], "prefix_length": 24, "mtu": 1450,
}  # fmt: skip
RECORD = from_line(json.dumps(LINE).encode())
BARE = from_line(json.dumps({**LINE, "user_data": None, "vendor_data": None, "public_keys": [], "keys": {},
                             "gateway": None, "dns": [], "prefix_length": None}).encode())  # fmt: skip


def ask(
    path: str,
    *,
    record: Record = RECORD,
    door: Door = Door.GATEWAY,
    required: bool = False,
    token: bool | None = None,
) -> Response:
    return respond(
        record, path, door=door, network="10.1.1.0/24", tokens_required=required, token_valid=token
    )


def body(path: str, *, record: Record = RECORD, door: Door = Door.GATEWAY) -> str:
    response = ask(path, record=record, door=door)
    assert response.status == 200, path
    return response.body.decode()


def test_cloudstack() -> None:
    assert body("/latest/meta-data/").split("\n") == [
        "service-offering", "availability-zone", "local-ipv4", "local-hostname", "instance-id", "vm-id",
        "public-keys", "own-key",
    ]  # fmt: skip
    assert body("/latest/meta-data") == body("/latest/meta-data/")
    assert body("/latest/meta-data/local-hostname") == body("/latest/local-hostname") == "vm1.cs1.example"
    assert body("/latest/meta-data/public-keys") == "ssh-ed25519 A a\nssh-rsa B b"
    assert ask("/latest/user-data").body == b"\0\1\2"
    assert ask("/latest/user-data", record=BARE).status == 404
    assert ask("/latest/meta-data/public-keys", record=BARE).status == 404
    assert ask("/latest/meta-data/public-keys/").status == 404
    assert ask("/latest/meta-data/public-ipv4").status == 404
    assert ask("/latest").status == 200
    assert body("/latest/availability-zone", record=BARE) == ""


@pytest.mark.parametrize("record", [RECORD, BARE])
def test_every_leaf_that_cloudstack_lists_is_there(record: Record) -> None:
    for leaf in body("/latest/meta-data/", record=record).split("\n"):
        assert ask(f"/latest/meta-data/{leaf}", record=record).status == 200


@pytest.mark.parametrize("record", [RECORD, BARE])
def test_every_leaf_that_ec2_lists_is_there(record: Record) -> None:
    """Walked as cloud-init walks it: `x/` is a directory, `0=name` is `0/openssh-key`."""

    def walk(path: str) -> int:
        count = 0
        for name in body(path, record=record, door=Door.LINK_LOCAL).split("\n"):
            if "=" in name:
                name = name.partition("=")[0] + "/openssh-key"
            count += walk(path + name) if name.endswith("/") else 1
            assert ask(path + name, record=record, door=Door.LINK_LOCAL).status == 200, path + name
        return count

    assert walk("/latest/meta-data/") > 10
    assert walk("/2009-04-04/meta-data/") > 10


def test_ec2() -> None:
    assert "latest" in body("/").split("\n")
    for prefix, door in (
        ("/2021-03-23", Door.GATEWAY),
        ("/1.0", Door.GATEWAY),
        ("/latest", Door.LINK_LOCAL),
    ):
        meta = f"{prefix}/meta-data"
        assert body(f"{meta}/public-keys/", door=door) == "0=key-0\n1=key-1"
        assert body(f"{meta}/public-keys/0", door=door) == "openssh-key"
        assert body(f"{meta}/public-keys/1/openssh-key", door=door) == "ssh-rsa B b"
        assert body(f"{meta}/placement/availability-zone", door=door) == "zone1"
        assert body(f"{meta}/network/interfaces/macs/", door=door) == "02:00:00:00:01:10/"
        assert body(f"{meta}/own-key", door=door) == "ünïcode"
        assert ask(f"{meta}/instance-id/", door=door).status == 404
        assert ask(f"{meta}/instance-id/x", door=door).status == 404
        assert ask(f"{meta}//instance-id", door=door).status == 404
        document = json.loads(body(f"{prefix}/dynamic/instance-identity/document", door=door))
        assert (document["instanceId"], document["availabilityZone"]) == ("i-1", "zone1")
    assert ask("/2021-03-23/user-data", record=BARE).status == 404


def test_tokens() -> None:
    leaf = "/latest/meta-data/instance-id"
    assert ask(leaf, door=Door.LINK_LOCAL, required=True).status == 401
    assert ask(leaf, door=Door.LINK_LOCAL, required=True, token=True).status == 200
    assert ask(leaf, door=Door.LINK_LOCAL, token=False).status == 401
    assert ask(leaf, door=Door.GATEWAY, required=True).status == 200
    assert ask("/", required=True).status == 401
    assert ask("/2009-04-04/", required=True).status == 401
    assert ask("/openstack", required=True).status == 200


def test_openstack() -> None:
    assert body("/openstack").split("\n")[-2:] == ["2018-08-27", "latest"]
    assert body("/openstack/") == body("/openstack")
    for version in ("2018-08-27", "latest"):
        meta = json.loads(body(f"/openstack/{version}/meta_data.json"))
        assert (meta["uuid"], meta["hostname"]) == ("i-1", "vm1.cs1.example")
        assert meta["public_keys"] == {"key-0": "ssh-ed25519 A a", "key-1": "ssh-rsa B b"}
        for name in body(f"/openstack/{version}/").split("\n"):
            assert ask(f"/openstack/{version}/{name}").status == 200
    network = json.loads(body("/openstack/latest/network_data.json"))
    assert network["links"][0]["ethernet_mac_address"] == "02:00:00:00:01:10"
    assert network["networks"][0]["netmask"] == "255.255.255.0"
    assert network["networks"][0]["routes"][0]["gateway"] == "10.1.1.1"
    bare = json.loads(body("/openstack/latest/network_data.json", record=BARE))
    assert bare["networks"][0]["type"] == "ipv4_dhcp"
    assert json.loads(body("/openstack/latest/vendor_data.json")) == {"cloud-init": "#cloud"}
    assert json.loads(body("/openstack/latest/vendor_data.json", record=BARE)) == {}
    assert ask("/openstack/latest/user_data", record=BARE).status == 404
    assert ask("/openstack/1999-01-01/meta_data.json").status == 404
    assert ask("/openstack/latest/password").status == 404


def test_nocloud_has_no_404() -> None:
    for name in ("network-config", "meta-data", "user-data", "vendor-data"):
        assert ask(f"/nocloud/{name}", record=BARE).status == 200
    assert ask("/nocloud/network-config", record=BARE).body == b""
    config = json.loads(body("/nocloud/network-config"))["ethernets"]["guest"]
    assert (config["addresses"], config["mtu"]) == (["10.1.1.10/24"], 1450)
    assert json.loads(body("/nocloud/meta-data"))["local-hostname"] == "vm1.cs1.example"
    assert ask("/nocloud/user-data").body == b"\0\1\2"
    assert ask("/nocloud").status == 404


def test_a_name_always_has_a_dot() -> None:
    def name(**fields: object) -> str:
        return from_line(json.dumps({**LINE, **fields}).encode()).hostname

    assert name(hostname="a.b.example") == "a.b.example"
    assert name(domain=None) == "vm1.internal"
    assert name(hostname=None) == "ip-10-1-1-10.cs1.example"


def test_what_nobody_may_do() -> None:
    def status(method: str, path: str, *, door: Door = Door.GATEWAY, proxy: str = "") -> int | None:
        headers = {"x-forwarded-for": proxy} if proxy else {}
        response = refused(Request(method=method, path=path, headers=headers), door=door)
        return None if response is None else response.status

    assert status("GET", "/latest/user-data") is None
    assert status("HEAD", "/latest/user-data") is None
    assert status("POST", "/latest/user-data") == 405
    assert status("PUT", "/latest/user-data") == 405
    assert status("PUT", "/latest/api/token") is None
    assert status("GET", "/latest/api/token") == 405
    assert status("GET", "/", proxy="10.1.1.9") == 403
    assert status("POST", "/", door=Door.PASSWORD) == status("HEAD", "/", door=Door.PASSWORD) == 405


paths = st.lists(
    st.sampled_from(["latest", "meta-data", "user-data", "openstack", "nocloud", "2009-04-04", "public-keys",
                     "0", "openssh-key", "network", "interfaces", "macs", "dynamic", "instance-identity",
                     "document", "", "meta_data.json", "x", "api", "token"]), max_size=6,
).map(lambda parts: "/" + "/".join(parts))  # fmt: skip


@given(paths, st.sampled_from([Door.GATEWAY, Door.LINK_LOCAL]), st.sampled_from([RECORD, BARE]))
def test_any_path_has_an_answer(path: str, door: Door, record: Record) -> None:
    response = ask(path, record=record, door=door)
    assert response.status in (200, 404)
    assert dialect(path, door=door) in ("ec2", "cloudstack", "openstack", "nocloud", "none")


@given(st.text(max_size=40))
def test_no_value_gets_into_a_header(value: str) -> None:
    record = replace(RECORD, keys={"service-offering": value}, hostname=value, instance_id=value)
    for path in ("/latest/service-offering", "/latest/instance-id", "/nocloud/meta-data"):
        encoded = encode(ask(path, record=record), keep_alive=True)
        head, _, rest = encoded.partition(b"\r\n\r\n")
        assert head.count(b"\r\n") == 3
        assert int(head.rpartition(b" ")[2]) == len(rest)
