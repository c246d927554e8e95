"""The instance metadata tree of EC2 ("Instance metadata categories" in its user guide)."""

from collections.abc import Mapping
from typing import Any

from router.metadata_server.record import Record
from router.metadata_server.response import BYTES, NOT_FOUND, Response, document, text

VERSIONS = ("1.0", "2007-01-19", "2007-03-01", "2008-09-01", "2009-04-04", "2016-09-02", "2018-09-24",
            "2021-03-23", "latest")  # fmt: skip

Tree = Mapping[str, Any]
"""Names to texts or further trees."""


def metadata(record: Record, network: str) -> Tree:
    """The `meta-data/` tree. `network` is the CIDR of the guest's network."""
    keys = record.keys
    tree: dict[str, Any] = {
        "ami-id": keys.get("ami-id", "ami-00000000"),
        "ami-launch-index": "0",
        "hostname": record.hostname,
        "instance-id": record.instance_id,
        "local-hostname": record.hostname,
        "local-ipv4": record.address,
        "mac": record.mac,
        "network": {"interfaces": {"macs": {record.mac: _card(record, network)}}},
        "reservation-id": "r-" + record.instance_id.removeprefix("i-"),
        "security-groups": keys.get("security-groups", "default"),
    }
    kind = keys.get("instance-type", keys.get("service-offering"))
    if kind is not None:
        tree["instance-type"] = kind
    if "availability-zone" in keys:
        tree["placement"] = {"availability-zone": keys["availability-zone"], "region": _region(keys)}
    if record.public_keys:
        # `0=name` stands in the listing, `0` in the path; `_listing` puts the name there.
        tree["public-keys"] = {
            str(number): {"openssh-key": key} for number, key in enumerate(record.public_keys)
        }
    # The operator's own keys too, where EC2 has no other meaning for the name.
    for key in keys.keys() - tree.keys() - {"placement", "public-keys"}:
        tree[key] = keys[key]
    return tree


def ec2(record: Record, path: str, *, network: str) -> Response:
    """The answer to `path` behind the version: `meta-data/...`, `user-data`, `dynamic/...`."""
    if path == "user-data":
        return NOT_FOUND if record.user_data is None else Response(200, record.user_data, BYTES)
    if path == "dynamic/instance-identity/document":
        return document(_identity(record))
    root: dict[str, Any] = {
        "dynamic": {"instance-identity": {"document": ""}},
        "meta-data": metadata(record, network),
    }
    if record.user_data is not None:
        root["user-data"] = ""
    node: Any = root
    *directories, last = path.split("/")
    for name in directories:
        if not isinstance(node, dict) or name not in node:
            return NOT_FOUND
        node = node[name]
    if last:
        node = node.get(last) if isinstance(node, dict) else None
    elif not isinstance(node, dict):
        return NOT_FOUND
    if isinstance(node, dict):
        return text(_listing(node, named=path.rstrip("/") == "meta-data/public-keys"))
    return NOT_FOUND if node is None else text(node)


def _listing(tree: Tree, *, named: bool) -> str:
    if named:
        return "\n".join(f"{number}=key-{number}" for number in tree)
    return "\n".join(sorted(name + "/" if isinstance(node, dict) else name for name, node in tree.items()))


def _card(record: Record, network: str) -> Tree:
    card = {
        "device-number": "0",
        "local-hostname": record.hostname,
        "local-ipv4s": record.address,
        "mac": record.mac,
        "subnet-ipv4-cidr-block": network,
    }
    if "public-ipv4" in record.keys:
        card["public-ipv4s"] = record.keys["public-ipv4"]
    return card


def _region(keys: Mapping[str, str]) -> str:
    return keys.get("region", keys["availability-zone"])


def _identity(record: Record) -> Mapping[str, object]:
    zone = record.keys.get("availability-zone")
    return {
        "architecture": record.keys.get("architecture"),
        "availabilityZone": zone,
        "imageId": record.keys.get("ami-id"),
        "instanceId": record.instance_id,
        "instanceType": record.keys.get("instance-type", record.keys.get("service-offering")),
        "privateIp": record.address,
        "region": None if zone is None else _region(record.keys),
        "version": "2017-09-30",
    }
