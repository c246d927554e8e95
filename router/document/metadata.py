"""What the metadata service tells guests."""

from typing import Annotated, Literal

from pydantic import Field

from appliance.address import DomainName, Ipv4Address, MacAddress
from appliance.model import Keyed, Model, SecretLine
from router.document.text import Base64, LineText


class GuestMetadata(Model):
    """What the metadata service tells one guest; its key is the MAC address of the guest's card."""

    address: Ipv4Address | None = None
    """Absent: the address of the reservation with this MAC."""
    instance_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")]
    hostname: DomainName | None = None
    """Absent: the reservation's host name."""
    user_data: Base64 | None = None
    vendor_data: Base64 | None = None
    public_keys: list[LineText] = []
    keys: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")], LineText] = {}
    """Further meta-data: service-offering, availability-zone, public-ipv4, ... and the operator's own."""
    password: SecretLine | None = None
    """Handed out once through the password protocol."""


class MetadataNetwork(Model):
    tokens: Literal["optional", "required"] = "optional"
    """Whether EC2 paths want an IMDSv2 session token."""
    guests: Keyed[MacAddress, GuestMetadata] = {}
