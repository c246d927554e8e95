"""OpenStack's metadata (Nova user guide, "Metadata"; network_data.json as its JSON schema has it)."""

from collections.abc import Mapping
from typing import Any

from router.metadata_server.record import Record
from router.metadata_server.response import BYTES, NOT_FOUND, Response, document, text

VERSIONS = ("2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06",
            "2017-02-22", "2018-08-27", "latest")  # fmt: skip


def openstack(record: Record, path: str) -> Response:
    """The answer to `path` behind `/openstack`: empty, or `/VERSION/...`."""
    parts = path.strip("/").split("/")
    if parts == [""]:
        return text("\n".join(VERSIONS))
    version, *rest = parts
    if version not in VERSIONS:
        return NOT_FOUND
    match rest:
        case []:
            return text("\n".join(_names(record)))
        case ["meta_data.json"]:
            return document(_metadata(record))
        case ["user_data"] if record.user_data is not None:
            return Response(200, record.user_data, BYTES)
        case ["vendor_data.json"]:
            return document(_vendor_data(record))
        case ["vendor_data2.json"]:
            return document({})
        case ["network_data.json"]:
            return document(network_data(record))
    return NOT_FOUND


def _names(record: Record) -> tuple[str, ...]:
    names = ("meta_data.json", "network_data.json", "vendor_data.json", "vendor_data2.json")
    return names if record.user_data is None else (*names, "user_data")


def _metadata(record: Record) -> Mapping[str, object]:
    metadata: dict[str, object] = {
        "uuid": record.instance_id,
        "name": record.hostname.partition(".")[0],
        "hostname": record.hostname,
        "launch_index": 0,
        "public_keys": {f"key-{number}": key for number, key in enumerate(record.public_keys)},
        "meta": dict(record.keys),
    }
    if "availability-zone" in record.keys:
        metadata["availability_zone"] = record.keys["availability-zone"]
    return metadata


def _vendor_data(record: Record) -> Mapping[str, object]:
    if record.vendor_data is None:
        return {}
    try:
        return {"cloud-init": record.vendor_data.decode()}
    except UnicodeDecodeError:
        # JSON has no bytes, and Nova's own vendor data is JSON to begin with.
        return {}


def network_data(record: Record) -> Mapping[str, object]:
    """The guest's card: static with a prefix length, else by DHCP. cloud-init refuses to boot with a
    link whose MAC address is not one of the guest's own."""
    link = {"id": "link0", "type": "phy", "ethernet_mac_address": record.mac, "mtu": record.mtu}
    network: dict[str, Any] = {
        "id": "network0",
        "link": "link0",
        "type": "ipv4_dhcp",
        "network_id": "network0",
    }
    interface = record.interface
    if interface is not None:
        network |= {"type": "ipv4", "ip_address": record.address, "netmask": str(interface.netmask)}
        if record.gateway is not None:
            route = {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": record.gateway}  # noqa: S104
            network["routes"] = [route]
    return {
        "links": [link],
        "networks": [network],
        "services": [{"type": "dns", "address": address} for address in record.dns],
    }
