"""One guest's record, as the agent writes it."""

import base64
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    address: str
    mac: str
    instance_id: str
    hostname: str
    """Fully qualified: cloud-init before 26.1 may fail on a `local-hostname` without a dot."""
    public_keys: tuple[str, ...]
    keys: Mapping[str, str]
    user_data: bytes | None
    vendor_data: bytes | None
    gateway: str | None
    dns: tuple[str, ...]
    search: tuple[str, ...]
    prefix_length: int | None
    """None: the guest gets its address by DHCP, and no network configuration says otherwise."""
    mtu: int | None

    @property
    def interface(self) -> ipaddress.IPv4Interface | None:
        """The static address, if the guest is to configure one."""
        if self.prefix_length is None:
            return None
        return ipaddress.IPv4Interface(f"{self.address}/{self.prefix_length}")


def from_line(line: bytes) -> Record:
    """The record in a line. Raises ValueError (of JSON or base64), KeyError or TypeError for what is
    not one."""
    value = json.loads(line)
    address = value["address"]
    return Record(
        address=address,
        mac=value["mac"].lower(),
        instance_id=value["instance_id"],
        hostname=_qualified(value.get("hostname"), value.get("domain"), address),
        public_keys=tuple(value.get("public_keys") or ()),
        keys=dict(value.get("keys") or {}),
        user_data=_decoded(value.get("user_data")),
        vendor_data=_decoded(value.get("vendor_data")),
        gateway=value.get("gateway"),
        dns=tuple(value.get("dns") or ()),
        search=tuple(value.get("search") or ()),
        prefix_length=value.get("prefix_length"),
        mtu=value.get("mtu"),
    )


def _decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


def _qualified(hostname: str | None, domain: str | None, address: str) -> str:
    name = hostname or "ip-" + address.replace(".", "-")
    # .internal is set aside for private networks (ICANN, 2024), so it can't be anybody's.
    return name if "." in name else f"{name}.{domain or 'internal'}"
