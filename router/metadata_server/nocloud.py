"""A NoCloud seed (cloud-init's reference, "NoCloud"): JSON, which YAML includes."""

from typing import Any

from router.metadata_server.record import Record
from router.metadata_server.response import BYTES, NOT_FOUND, Response, document


def nocloud(record: Record, path: str) -> Response:
    """The answer to `path` behind `/nocloud/`. What a guest doesn't have is empty, never 404: cloud-init
    asks ten times, a second apart, before it believes a 404."""
    match path:
        case "meta-data":
            keys = {"public-keys": list(record.public_keys)} if record.public_keys else {}
            return document({"instance-id": record.instance_id, "local-hostname": record.hostname, **keys})
        case "user-data":
            return Response(200, record.user_data or b"", BYTES)
        case "vendor-data":
            return Response(200, record.vendor_data or b"", BYTES)
        case "network-config":
            return _network_config(record)
    return NOT_FOUND


def _network_config(record: Record) -> Response:
    interface = record.interface
    if interface is None:
        return Response(200)
    card: dict[str, Any] = {
        "match": {"macaddress": record.mac},
        "addresses": [interface.with_prefixlen],
        "nameservers": {"addresses": list(record.dns), "search": list(record.search)},
    }
    if record.mtu is not None:
        card["mtu"] = record.mtu
    if record.gateway is not None:
        card["routes"] = [{"to": "0.0.0.0/0", "via": record.gateway}]
    return document({"version": 2, "ethernets": {"guest": card}})
