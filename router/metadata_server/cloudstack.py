"""Meta-data as CloudStack's virtual router gives it: flat, one text per key, `latest` the only version."""

from collections.abc import Mapping

from router.metadata_server.record import Record
from router.metadata_server.response import BYTES, NOT_FOUND, Response, text

_ORDER = (
    "service-offering",
    "availability-zone",
    "local-ipv4",
    "local-hostname",
    "public-ipv4",
    "public-hostname",
    "instance-id",
    "vm-id",
    "public-keys",
    "cloud-identifier",
    "hypervisor-host-name",
)


def leaves(record: Record) -> Mapping[str, str]:
    """Every key that this guest has, CloudStack's own first.

    The listing is made of just these: cloud-init throws away all meta-data if one listed leaf fails.
    """
    known = {
        # cloud-init has no other data source left if this key is missing (DataSourceCloudStack, 25.1).
        "availability-zone": "",
        "vm-id": record.instance_id,
        **record.keys,
        "local-ipv4": record.address,
        "local-hostname": record.hostname,
        "instance-id": record.instance_id,
    }
    if record.public_keys:
        # A plain leaf here, while EC2 has a directory of that name: see `answers`.
        known["public-keys"] = "\n".join(record.public_keys)
    else:
        known.pop("public-keys", None)
    return {key: known[key] for key in (*_ORDER, *sorted(known.keys() - set(_ORDER))) if key in known}


def cloudstack(record: Record, path: str) -> Response:
    """The answer to `path`, which starts with `/latest/`."""
    rest = path.removeprefix("/latest/")
    if rest == "user-data":
        return NOT_FOUND if record.user_data is None else Response(200, record.user_data, BYTES)
    if rest == "":
        return text("meta-data/\nuser-data" if record.user_data is not None else "meta-data/")
    if rest in ("meta-data", "meta-data/"):
        return text("\n".join(leaves(record)))
    # The old form leaves the `meta-data/` out; CloudStack's key script still asks that way.
    value = leaves(record).get(rest.removeprefix("meta-data/"))
    return NOT_FOUND if value is None else text(value)
