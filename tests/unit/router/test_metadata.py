"""What the metadata service reads, and the passwords it may hand out."""

import json

from appliance.checks import HttpCheck, MetadataCheck
from appliance.resources import Address, File, Password, Records, Unit
from router import metadata, redundancy
from router.document import DhcpNetwork, GuestMetadata, MetadataNetwork
from router.metadata_server import record
from tests.examples import document

WEB = "02:00:0a:01:01:0a"


def test_nothing_without_a_section() -> None:
    assert list(metadata.resources(document("minimal"))) == []
    assert list(metadata.checks(document("minimal"))) == []


def test_records_are_what_the_service_reads() -> None:
    found = list(metadata.resources(document("everything")))
    (records,) = [item for item in found if isinstance(item, Records)]
    assert (records.path, records.mode, records.group) == (
        "/run/sysvm/metadata/guest0", 0o640, "sysvm-metadata",
    )  # fmt: skip
    web = record.from_line(records.records[WEB].encode())
    assert (web.address, web.mac, web.instance_id, web.hostname) == (
        "10.1.1.10", WEB, "i-web", "web.cs1.example",
    )  # fmt: skip
    # It has a reservation, so DHCP tells it the address and how long the prefix is.
    assert (web.gateway, web.prefix_length, web.mtu) == ("10.1.1.1", None, 1450)
    assert web.user_data == b"#!/bin/sh\necho hello\n"
    static = record.from_line(records.records["02:00:0a:01:01:63"].encode())
    assert (static.address, static.hostname) == ("10.1.1.99", "ip-10-1-1-99.cs1.example")
    assert "only an example" not in repr(found), "a password is in no record and no text"


def test_the_rest() -> None:
    found = list(metadata.resources(document("everything")))
    assert Address(link="guest0", address="169.254.169.254/32", label="guest0:meta") in found
    assert Unit(name="sysvm-metadata.service") in found
    (config,) = [item for item in found if isinstance(item, File)]
    assert json.loads(config.content) == {
        "networks": {"guest0": {"address": "10.1.1.1", "network": "10.1.1.0/24", "tokens": "required"}},
        "fetched_key": redundancy.fetched_key(document("everything")),
    }
    assert config.secret
    assert [item for item in found if isinstance(item, Password)] == [
        Password(network="guest0", address="10.1.1.10", value="only an example")
    ]
    assert [type(check) for check in metadata.checks(document("everything"))] == [
        HttpCheck,
        MetadataCheck,
    ]


def test_an_address_is_the_guests_own_or_its_reservations() -> None:
    dhcp = DhcpNetwork.model_validate({"reservations": {WEB: {"address": "10.1.1.10", "hostname": "web"}}})

    def address(guest: GuestMetadata, section: DhcpNetwork | None) -> str | None:
        guests = metadata.with_reservations("guest9", MetadataNetwork(guests={WEB: guest}), section)
        return metadata.addresses(guests)[WEB]

    assert address(GuestMetadata(instance_id="i-1"), dhcp) == "10.1.1.10"
    assert address(GuestMetadata(instance_id="i-1", address="10.1.1.9"), dhcp) == "10.1.1.9"
    assert address(GuestMetadata(instance_id="i-1"), None) is None
    assert address(GuestMetadata(instance_id="i-1"), DhcpNetwork()) is None
